"""The pieces that the document is made of."""

from typing import Any

from ingest_api.body import JSON

TIME = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, microseconds"}
ID = {"type": "string", "format": "uuid", "description": "UUIDv7"}
COUNT = {"type": "integer", "minimum": 0}
ERRORS = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}

ALWAYS = ("405", "406", "429", "500")
WITH_BODY = ("400", "408", "413", "415")
WITH_TOKEN = ("401", "403")


def ref(name: str) -> dict[str, Any]:
    """Return a reference to one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def as_json(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a JSON body."""
    return {JSON: {"schema": schema}}


def object_of(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """Return the schema of an object; all properties are required unless some are named."""
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def envelope(code: int, data: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the success envelope around `data`."""
    return object_of(
        {"status": {"const": "success"}, "code": {"const": code}, "message": {"type": "string"}, "data": data}
    )


def page_of(lead: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a page of leads."""
    pagination = {
        "total": COUNT,
        "page": {"type": ["integer", "null"], "description": "null when a cursor was given"},
        "limit": {"type": "integer"},
        "total_pages": COUNT,
        "next_cursor": {"type": ["string", "null"], "description": "null on the last page"},
    }
    return object_of({"items": {"type": "array", "items": lead}, "pagination": object_of(pagination)})


def response(description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a response with the headers that all have."""
    return {"description": description, "headers": {**common_headers(), **(headers or {})}, "content": as_json(schema)}


def refused(*statuses: str) -> dict[str, Any]:
    """Return the references to the errors of these statuses, and of those that any request may get."""
    return {status: {"$ref": f"#/components/responses/{status}"} for status in sorted({*statuses, *ALWAYS})}


def common_headers() -> dict[str, Any]:
    """Return the headers that every response has."""
    names = ("X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
