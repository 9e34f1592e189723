"""What the paths share: schemas, headers, errors."""

from apispec import APISpec

from ingest_api.accepting import IDEMPOTENCY_KEY
from ingest_api.body import BODY_MAX, BULK_BODY_MAX
from ingest_api.openapi.parts import (
    ERRORS,
    ID,
    TIME,
    as_json,
    common_headers,
    ref,
)
from ingest_api.resources.dead_letters import ReplaySchema
from ingest_api.resources.login import CredentialsSchema
from schema.lead import LeadSchema
from schema.settings import Settings

# What an error's status means here; every one has the body `Error`.
MEANINGS = {
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


def add_components(spec: APISpec, settings: Settings) -> None:
    """Add the schemas, the headers and the errors to the document."""
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
                "id": ID,
                **fields,
                "createdAt": TIME,
                "updatedAt": TIME,
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
                "errors": {**ERRORS, "description": "Messages by field, parameter or part"},
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
    for status, meaning in MEANINGS.items():
        headers = dict(common_headers())
        if status in ("429", "503"):
            headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
        if status == "401":
            headers["WWW-Authenticate"] = {"schema": {"type": "string"}, "example": "Bearer"}
        if status == "405":
            headers["Allow"] = {"schema": {"type": "string"}}
        schemas.response(status, {"description": meaning, "headers": headers, "content": as_json(ref("Error"))})
