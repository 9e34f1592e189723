"""The OpenAPI 3.1 document, made from the schemas that check the requests."""

from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from ingest_api.accepting import IDEMPOTENCY_KEY
from ingest_api.body import BODY_MAX, BULK_BODY_MAX, JSON, NDJSON
from ingest_api.list_query import ListQuerySchema
from ingest_api.resources.bulk import BULK_MAX
from ingest_api.resources.dead_letters import LettersQuerySchema, ReplaySchema
from ingest_api.resources.login import CredentialsSchema
from ingest_api.resources.stats import StatsQuerySchema
from schema import __version__
from schema.lead import LeadSchema
from schema.settings import Settings

DESCRIPTION = """\
Takes leads in over HTTP, loses none and stores none twice. A lead is answered with 202 once it is durable
in the queue, and stored soon after. Get a token from `/api/login_check`, and send it as `Authorization: Bearer`.
"""

_TIME = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, microseconds"}
_ID = {"type": "string", "format": "uuid", "description": "UUIDv7"}
_COUNT = {"type": "integer", "minimum": 0}
_ERRORS = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}

# What an error's status means here; every one has the body `Error`.
_MEANINGS = {
    "400": "Something in the request is wrong; `errors` names it.",
    "401": "No token, or one past its hour; at the log-in: wrong credentials.",
    "403": "The token is not ours or was altered, or its user lacks the role.",
    "404": "There is no such thing.",
    "405": "The path has no such method; `Allow` lists those it has.",
    "406": "The client does not accept application/json.",
    "408": "The body took too long to arrive.",
    "409": f"The {IDEMPOTENCY_KEY} was used with another body.",
    "413": f"The body is over {BODY_MAX} bytes (bulk: {BULK_BODY_MAX}).",
    "415": "The body has another media type, another charset, or is compressed.",
    "429": "The client used up its rate-limit window.",
    "500": "A defect; the message names the request id.",
    "503": "The queue is full, or Redis or the database is away. Nothing was accepted.",
}
_ALWAYS = ("405", "406", "429", "500")
_WITH_BODY = ("400", "408", "413", "415")
_WITH_TOKEN = ("401", "403")


def document(settings: Settings) -> dict[str, Any]:
    """Return the document as a JSON object."""
    spec = APISpec(
        title="Lead Ingest",
        version=__version__,
        openapi_version="3.1.0",
        plugins=[MarshmallowPlugin()],
        info={"description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
    )
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    _add_components(spec, settings)
    _add_paths(spec)
    return spec.to_dict()


def _add_components(spec: APISpec, settings: Settings) -> None:
    schemas = spec.components
    schemas.schema("LeadInput", schema=LeadSchema)
    schemas.schema("Credentials", schema=CredentialsSchema)
    schemas.schema("Replay", schema=ReplaySchema)
    fields = spec.components.schemas["LeadInput"]["properties"]
    schemas.schema(
        "Lead",
        {
            "type": "object",
            "properties": {
                "id": _ID,
                **fields,
                "createdAt": _TIME,
                "updatedAt": _TIME,
                "state": {"type": "string", "enum": ["queued", "stored"]},
            },
            "required": ["id", *fields, "createdAt", "updatedAt", "state"],
        },
    )
    schemas.schema(
        "Error",
        {
            "type": "object",
            "properties": {
                "status": {"const": "error"},
                "code": {"type": "integer"},
                "message": {"type": "string"},
                "errors": {**_ERRORS, "description": "Messages by field, parameter or part"},
                "retry_after": {"type": "integer", "description": "Seconds"},
            },
            "required": ["status", "code", "message"],
        },
    )
    whole = {"type": "integer"}
    for name, text, example in (
        ("X-RateLimit-Limit", "Requests in a window", settings.rate_limit),
        ("X-RateLimit-Remaining", "Requests left in this window", max(settings.rate_limit - 1, 0)),
        ("X-RateLimit-Reset", "Seconds until the window ends", settings.rate_limit_window),
        ("Retry-After", "Seconds until it is worth trying again", 2),
    ):
        schemas.header(name, {"description": text, "schema": whole, "example": example})
    schemas.header("X-Request-Id", {"description": "The client's own, when sane", "schema": {"type": "string"}})
    for status, meaning in _MEANINGS.items():
        headers = dict(_common_headers())
        if status in ("429", "503"):
            headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
        if status == "401":
            headers["WWW-Authenticate"] = {"schema": {"type": "string"}, "example": "Bearer"}
        if status == "405":
            headers["Allow"] = {"schema": {"type": "string"}}
        schemas.response(status, {"description": meaning, "headers": headers, "content": _json(_ref("Error"))})


def _add_paths(spec: APISpec) -> None:
    lead = _ref("Lead")
    spec.path(
        "/api/login_check",
        operations={
            "post": {
                "summary": "Log in",
                "operationId": "login",
                "tags": ["Log-in"],
                "requestBody": {"required": True, "content": _json(_ref("Credentials"))},
                "responses": {
                    "200": _response("A token", _object({"token": {"type": "string"}})),
                    **_refused("401", "503", *_WITH_BODY),
                },
            }
        },
    )
    key = {
        "in": "header",
        "name": IDEMPOTENCY_KEY,
        "description": "For 24 hours the same user, key and body give the same id and store one lead.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    }
    location = {"Location": {"description": "The lead's own path", "schema": {"type": "string"}}}
    spec.path(
        "/api/leads",
        operations={
            "post": {
                "summary": "Send a lead",
                "operationId": "postLead",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "parameters": [key],
                "requestBody": {"required": True, "content": _json(_ref("LeadInput"))},
                "responses": {
                    "202": _response("Durable in the queue", _envelope(202, lead), location),
                    **_refused("409", "503", *_WITH_TOKEN, *_WITH_BODY),
                },
            },
            "get": {
                "summary": "List stored leads",
                "operationId": "listLeads",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "parameters": [{"in": "query", "schema": ListQuerySchema}],
                "responses": {
                    "200": _response("A page", _envelope(200, _page(lead))),
                    **_refused("400", "503", *_WITH_TOKEN),
                },
            },
        },
    )
    leads = {"type": "array", "items": _ref("LeadInput"), "minItems": 1, "maxItems": BULK_MAX}
    result = _object({"index": _COUNT, "id": _ID, "errors": _ERRORS}, "index")
    spec.path(
        "/api/leads/bulk",
        operations={
            "post": {
                "summary": f"Send up to {BULK_MAX} leads",
                "operationId": "postLeads",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "requestBody": {
                    "required": True,
                    "content": {JSON: {"schema": leads}, NDJSON: {"schema": {"type": "string"}}},
                },
                "responses": {
                    "202": _response(
                        "The valid ones are durable in the queue",
                        _envelope(
                            202,
                            _object(
                                {
                                    "accepted": _COUNT,
                                    "rejected": _COUNT,
                                    "results": {"type": "array", "items": result},
                                }
                            ),
                        ),
                    ),
                    **_refused("503", *_WITH_TOKEN, *_WITH_BODY),
                },
            }
        },
    )
    bucket = _object({"time": _TIME, "accepted": _COUNT, "stored": _COUNT})
    stats = {
        "interval": {"type": "string"},
        "from": _TIME,
        "to": _TIME,
        "accepted": _COUNT,
        "stored": _COUNT,
        "items": {"type": "array", "items": bucket},
    }
    spec.path(
        "/api/leads/stats",
        operations={
            "get": {
                "summary": "Count leads over time",
                "operationId": "countLeads",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "parameters": [{"in": "query", "schema": StatsQuerySchema}],
                "responses": {
                    "200": _response("Leads by bucket", _envelope(200, _object(stats))),
                    **_refused("400", "503", *_WITH_TOKEN),
                },
            }
        },
    )
    spec.path(
        "/api/leads/{lead}",
        parameters=[{"in": "path", "name": "lead", "required": True, "schema": _ID}],
        operations={
            "get": {
                "summary": "One lead",
                "operationId": "getLead",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "responses": {
                    "200": _response("The lead", _envelope(200, lead)),
                    **_refused("404", "503", *_WITH_TOKEN),
                },
            }
        },
    )
    letter = _object(
        {
            "letter": {"type": "string", "description": "The dead letter's name"},
            "reason": {"type": "string"},
            "since": {"type": "string", "format": "date-time"},
            "id": {"type": ["string", "null"], "description": "The lead's id"},
            "lead": {"description": "The lead as it was accepted; null when the entry held none"},
        }
    )
    letters = {
        "items": {"type": "array", "items": letter},
        "total": _COUNT,
        "next": {"type": ["string", "null"], "description": "`after` of the next page; null on the last"},
    }
    spec.path(
        "/api/dead-letters",
        operations={
            "get": {
                "summary": "List dead letters (role `admin`)",
                "operationId": "listDeadLetters",
                "tags": ["Dead letters"],
                "security": [{"token": []}],
                "parameters": [{"in": "query", "schema": LettersQuerySchema}],
                "responses": {
                    "200": _response("A page, the oldest first", _envelope(200, _object(letters))),
                    **_refused("400", "503", *_WITH_TOKEN),
                },
            }
        },
    )
    spec.path(
        "/api/dead-letters/replay",
        operations={
            "post": {
                "summary": "Put dead letters back into the queue (role `admin`)",
                "operationId": "replayDeadLetters",
                "tags": ["Dead letters"],
                "security": [{"token": []}],
                "requestBody": {"required": True, "content": _json(_ref("Replay"))},
                "responses": {
                    "200": _response("How many went back", _envelope(200, _object({"replayed": _COUNT}))),
                    **_refused("404", "503", *_WITH_TOKEN, *_WITH_BODY),
                },
            }
        },
    )
    for path, summary, parts in (
        ("/health/live", "Whether the process answers", ("live",)),
        ("/health/ready", "Whether the queue and the database answer", ("queue", "database")),
    ):
        data = _object({part: {"type": "boolean"} for part in parts})
        if "queue" in parts:
            data["properties"]["ledger"] = {"type": "object", "additionalProperties": {"type": "integer"}}
        spec.path(
            path,
            operations={
                "get": {
                    "summary": summary,
                    "operationId": path.rpartition("/")[2],
                    "tags": ["Operation"],
                    "responses": {"200": _response("Yes", _envelope(200, data)), **_refused("503")},
                }
            },
        )


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {JSON: {"schema": schema}}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def _envelope(code: int, data: dict[str, Any]) -> dict[str, Any]:
    return _object(
        {"status": {"const": "success"}, "code": {"const": code}, "message": {"type": "string"}, "data": data}
    )


def _page(lead: dict[str, Any]) -> dict[str, Any]:
    pagination = {
        "total": _COUNT,
        "page": {"type": ["integer", "null"], "description": "null when a cursor was given"},
        "limit": {"type": "integer"},
        "total_pages": _COUNT,
        "next_cursor": {"type": ["string", "null"], "description": "null on the last page"},
    }
    return _object({"items": {"type": "array", "items": lead}, "pagination": _object(pagination)})


def _response(description: str, schema: dict[str, Any], headers: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, "headers": {**_common_headers(), **(headers or {})}, "content": _json(schema)}


def _refused(*statuses: str) -> dict[str, Any]:
    return {status: {"$ref": f"#/components/responses/{status}"} for status in sorted({*statuses, *_ALWAYS})}


def _common_headers() -> dict[str, Any]:
    names = ("X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
