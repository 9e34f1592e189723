"""What the paths share: schemas, parameters, headers, errors."""

from datetime import date
from typing import Any

from apispec import APISpec

from ingest_api.http.body import BODY_MAX, BULK_BODY_MAX
from ingest_api.openapi.examples import REFUSALS
from ingest_api.openapi.parts import ERRORS, ID, SOURCE, TIME, as_json, common_headers, days_until, ref
from ingest_api.parameters.credentials import CredentialsSchema
from ingest_api.parameters.dead_letters import ReplaySchema
from schema.database.idempotency import IDEMPOTENCY_KEY
from schema.lead.rules import LeadSchema
from schema.runtime.trace_headers import TRACEPARENT
from schema.settings import Settings

# Meaning of each error status. All have the body `Error`.
MEANINGS = {
    "400": "Something in the request is wrong; `errors` names it.",
    "401": "No token, or one past its hour; at the log-in: wrong credentials.",
    "403": "The token is not ours, was altered or was ended by a change of its user; the API key is unknown, over, or "
    "of a disabled source; or the user or source lacks the role.",
    "404": "There is no such thing.",
    "405": "The path has no such method; `Allow` lists those it has.",
    "406": "The client does not accept application/json.",
    "408": "The body took too long to arrive.",
    "409": f"The {IDEMPOTENCY_KEY} was used with another body, or the source has duplicates refused: "
    "`errors.duplicateOf` has the id of the first lead, in bulk of each lead (`0.duplicateOf`).",
    "413": f"The body is over {BODY_MAX} bytes (bulk: {BULK_BODY_MAX}).",
    "415": "The body has another media type, another charset, or is compressed.",
    "429": "The client used up its rate-limit window, or in bulk its user the leads of a window, or the leads do not "
    "fit into the rate or the daily cap of their source, or too many log-ins failed.",
    "500": "A defect; the message names the request id.",
    "503": "The queue is full, Redis or the database is away, no API key is known yet, the schema of the source cannot "
    "be used, or too many requests of this kind run at once. Sending again with the same Idempotency-Key is safe.",
}

# Headers of an error in addition to those of every response.
MORE_HEADERS = {"401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After", "503": "Retry-After"}


def add_components(spec: APISpec, settings: Settings, today: date) -> None:
    """Add the components that the paths refer to. `today` is the last date of birth that is accepted."""
    _add_schemas(spec, today)
    _add_parameters(spec, settings)
    _add_headers(spec, settings)
    for status, meaning in MEANINGS.items():
        headers = common_headers()
        if status in MORE_HEADERS:
            headers[MORE_HEADERS[status]] = ref(MORE_HEADERS[status], "headers")
        content = as_json(ref("Error"), **REFUSALS[status])
        spec.components.response(status, {"description": meaning, "headers": headers, "content": content})


def _add_schemas(spec: APISpec, today: date) -> None:
    schemas = spec.components
    schemas.schema("LeadInput", schema=LeadSchema)
    schemas.schema("Credentials", schema=CredentialsSchema)
    schemas.schema("Replay", schema=ReplaySchema)
    schemas.schemas["Replay"]["oneOf"] = [
        {"required": ["letter"], "properties": {"all": {"not": {"const": True}}}},
        {"required": ["all"], "properties": {"all": {"const": True}, "letter": {"not": {}}}},
    ]
    fields = schemas.schemas["LeadInput"]["properties"]
    stored = {name: _as_stored(field) for name, field in fields.items()}
    fields["dateOfBirth"]["pattern"] = days_until(today)
    json = ref("Json")
    schemas.schema(
        "Json",
        {
            "description": "Any JSON. Integers have 64 bits, with or without a sign",
            "anyOf": [
                {"type": ["string", "boolean", "null"]},
                {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 64) - 1},
                {"type": "number", "not": {"type": "integer"}},
                {"type": "array", "items": json},
                {"type": "object", "additionalProperties": json},
            ],
        },
    )
    fields["additionalData"]["additionalProperties"] = json
    schemas.schemas["Consent"]["minProperties"] = 1
    schemas.schema(
        "Lead",
        {
            "type": "object",
            "properties": {
                "id": ID,
                **stored,
                "createdAt": TIME,
                "updatedAt": TIME,
                "state": {
                    "type": "string",
                    "enum": ["queued", "stored"],
                    "description": "queued: durable in the queue; stored: in the database, and in lists",
                },
                "source": {**SOURCE, "description": "Who sent it with an API key; left out when a user sent it"},
                "duplicateOf": {
                    **ID,
                    "description": "Of a duplicate: the id of the first lead with its e-mail address or telephone "
                    "number; left out when none came before, or nobody looked",
                },
            },
            "required": ["id", *(name for name in fields if name != "consent"), "createdAt", "updatedAt", "state"],
        },
    )
    schemas.schema(
        "Error",
        {
            "type": "object",
            "properties": {
                "status": {"type": "string", "const": "error"},
                "code": {"type": "integer", "minimum": 400, "maximum": 599},
                "message": {"type": "string"},
                "errors": {
                    **ERRORS,
                    "description": "Messages by field, parameter or part: `consent.url`, "
                    "`additionalData.items.2.price`; of bulk leads by `0.email`",
                },
                "retry_after": {"type": "integer", "minimum": 0, "description": "Seconds"},
            },
            "required": ["status", "code", "message"],
            "additionalProperties": False,
        },
    )


def _as_stored(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a lead's field in an answer, without default and pattern, which hold for requests only."""
    return {name: rule for name, rule in field.items() if name not in ("default", "pattern")}


def _add_parameters(spec: APISpec, settings: Settings) -> None:
    spec.components.parameter(
        IDEMPOTENCY_KEY,
        "header",
        {
            "description": f"Makes a request safe to repeat: for {settings.idempotency_ttl} seconds the same user or "
            "source, key and body give the same ids and store each lead once.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        },
    )
    spec.components.parameter(
        TRACEPARENT,
        "header",
        {
            "description": "W3C Trace Context: the trace and span of the sender. Where traces are on, and it is "
            "sampled, the spans of the request and of the way of its leads to their rows belong to that trace. "
            "`tracestate` goes along; a malformed one is ignored.",
            "schema": {"type": "string"},
            "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    )
    spec.components.parameter(
        "X-Request-Id",
        "header",
        {
            "description": "The response carries it back, and the log has it: 1 to 128 letters, digits and `._:/+=-`. "
            "Any other value is replaced.",
            "schema": {"type": "string"},
        },
    )


def _add_headers(spec: APISpec, settings: Settings) -> None:
    number = {"type": "integer", "minimum": 0}
    text = {"type": "string"}
    limit = settings.rate_limit
    left_out = "; left out when there is no limit"
    for name, description, schema, example in (
        ("X-Request-Id", "The request's own, when sane, or a new one", text, "019abc12-3456-7def-8123-456789abcdef"),
        ("X-RateLimit-Limit", f"Requests in a window{left_out}", number, limit or 1000),
        ("X-RateLimit-Remaining", f"Requests left in this window{left_out}", number, max(limit - 1, 0)),
        ("X-RateLimit-Reset", f"Seconds until the window ends{left_out}", number, settings.rate_limit_window),
        ("Retry-After", "Seconds until it is worth trying again", number, 2),
        ("WWW-Authenticate", "How to authenticate", text, "Bearer"),
        ("Allow", "The path's methods", text, "GET, HEAD, OPTIONS"),
        ("Location", "The lead's own path", text, "/api/leads/019abc12-3456-7def-8123-456789abcdef"),
    ):
        required = not name.startswith("X-RateLimit") or bool(limit)
        spec.components.header(
            name, {"description": description, "required": required, "schema": schema, "example": example}
        )
