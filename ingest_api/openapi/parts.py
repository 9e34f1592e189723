"""Building blocks of the document."""

from datetime import date
from typing import Any

from ingest_api.http.envelope import JSON
from schema.lead.rules import DATE_OF_BIRTH_MIN
from schema.lead.source import SOURCE_NAME_PATTERN

TIME = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, microseconds"}
SECOND = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, whole seconds"}
ID = {"type": "string", "format": "uuid", "description": "UUIDv7"}
COUNT = {"type": "integer", "minimum": 0}
SOURCE = {"type": "string", "pattern": SOURCE_NAME_PATTERN}
ERRORS = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}

ALWAYS = ("405", "500")
UNDER_API = ("406", "429")
WITH_BODY = ("400", "408", "413", "415")
WITH_TOKEN = ("401", "403")

# What an operation takes in `Authorization`: a user's token alone, or the API key of a source too.
TOKEN_ALONE: list[dict[str, list[str]]] = [{"token": []}]
TOKEN_OR_KEY = [*TOKEN_ALONE, {"apiKey": []}]

# Headers of every response.
HEADERS = ("X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")

NO_STORE = {
    "Cache-Control": {
        "description": "The answer holds a token or personal data: nobody on the way may keep it",
        "schema": {"type": "string", "const": "no-store"},
    }
}


def ref(name: str, kind: str = "schemas") -> dict[str, Any]:
    """Return a reference to one of the document's components."""
    return {"$ref": f"#/components/{kind}/{name}"}


def as_json(schema: dict[str, Any], **examples: Any) -> dict[str, Any]:
    """Return the `content` of a JSON body, with examples by name."""
    return {JSON: with_examples({"schema": schema}, examples)}


def with_examples(content: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    """Add examples by name to a media type object."""
    return (
        {**content, "examples": {name: {"value": value} for name, value in examples.items()}} if examples else content
    )


def object_of(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """Return the schema of an object; all properties are required unless some are named."""
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def envelope(code: int, data: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the success envelope around `data`."""
    return object_of(
        {
            "status": {"type": "string", "const": "success"},
            "code": {"type": "integer", "const": code},
            "message": {"type": "string"},
            "data": data,
        }
    )


def page_of(lead: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a page of leads."""
    pagination = {
        "total": {**COUNT, "description": "Leads in the whole list"},
        "page": {"type": ["integer", "null"], "minimum": 1, "description": "null when a cursor was given"},
        "limit": {"type": "integer", "minimum": 1},
        "total_pages": COUNT,
        "next_cursor": {"type": ["string", "null"], "description": "null on the last page"},
    }
    return object_of({"items": {"type": "array", "items": lead}, "pagination": object_of(pagination)})


def response(
    description: str, schema: dict[str, Any], example: Any, headers: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return a response with the headers of every response; `more` are further examples by name."""
    return {
        "description": description,
        "headers": {**common_headers(), **(headers or {})},
        "content": as_json(schema, example=example, **more),
    }


def refused(*statuses: str) -> dict[str, Any]:
    """Return references to the errors of these statuses and to those of any request under /api."""
    return failed(*statuses, *UNDER_API)


def failed(*statuses: str) -> dict[str, Any]:
    """Return references to the errors of these statuses and to those of any request."""
    return {status: ref(status, "responses") for status in sorted({*statuses, *ALWAYS})}


def common_headers() -> dict[str, Any]:
    """Return the headers that every response has."""
    return {name: ref(name, "headers") for name in HEADERS}


def days_until(today: date) -> str:
    """Return the pattern of the dates from DATE_OF_BIRTH_MIN to `today`, written YYYY-MM-DD."""
    century, decade, year = today.year // 100, today.year // 10 % 10, today.year % 10
    years = [f"{each}[0-9]{{2}}" for each in range(DATE_OF_BIRTH_MIN.year // 100, century)]
    years += [f"{century}[0-{decade - 1}][0-9]"] if decade else []
    years += [f"{century}{decade}[0-{year - 1}]"] if year else []
    day = "(0[1-9]|[12][0-9]|3[01])"
    spans = [f"({'|'.join(years)})-(0[1-9]|1[0-2])-{day}"]
    if today.month > 1:
        spans.append(f"{today.year}-({_numbers(today.month - 1)})-{day}")
    spans.append(f"{today.year}-{today.month:02}-({_numbers(today.day)})")
    return f"^({'|'.join(spans)})$"


def _numbers(last: int) -> str:
    return "|".join(f"{number:02}" for number in range(1, last + 1))
