"""The OpenAPI 3.1 document, made from the schemas that validate the requests."""

from datetime import date
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from ingest_api.http.body import BODY_MAX, BULK_BODY_MAX
from ingest_api.openapi.components import add_components
from ingest_api.openapi.operation import add_operation
from ingest_api.openapi.paths import add_paths
from schema import __version__
from schema.lead.source import KEY_MARK
from schema.settings import Settings

DESCRIPTION = """\
Takes leads in over HTTP, loses none and stores none twice. A lead is answered with 202 once it is durable
in the queue, and stored soon after. Get a token from `/api/login_check`, and send it as `Authorization: Bearer`;
it is good for {token_ttl} seconds. A source, who has an API key, sends the key in its place and needs no log-in.

Limits: {rate_limit} for each client IP over every `/api` path; {bulk_limit} for each user or source; the rate and
the daily cap of the source, if it has any; a body of at most {body_max} bytes, in bulk {bulk_max}.
{duplicates}
A client that gets no answer, 429 or 503 waits (`Retry-After`) and sends the same again with the same `Idempotency-Key`.
"""

TAGS = {
    "Log-in": "Tokens",
    "Leads": "In with role `ingest`, out with role `read`, all of them in one file with role `export`",
    "Dead letters": "Leads that cannot be stored; role `admin`",
    "Operation": "For those who run it",
}


def document(settings: Settings, today: date) -> dict[str, Any]:
    """Return the document as a JSON object. `today` is the last date of birth that is accepted."""
    limit = f"{settings.rate_limit} requests in {settings.rate_limit_window} seconds"
    in_bulk = f"{settings.bulk_limit} leads in bulk in {settings.rate_limit_window} seconds"
    description = DESCRIPTION.format(
        token_ttl=settings.token_ttl,
        rate_limit=limit if settings.rate_limit else "any number of requests",
        bulk_limit=in_bulk if settings.bulk_limit and settings.rate_limit else "any number of leads in bulk",
        body_max=BODY_MAX,
        bulk_max=BULK_BODY_MAX,
        duplicates=_duplicates(settings),
    )
    spec = APISpec(
        title="Lead Ingest",
        version=__version__,
        openapi_version="3.1.0",
        plugins=[MarshmallowPlugin()],
        info={"description": description, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/"}],
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
    )
    spec.components.security_scheme(
        "token",
        {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `token` of `/api/login_check` (RS256).",
        },
    )
    spec.components.security_scheme(
        "apiKey",
        {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "API key",
            "description": f"The API key of a source, which begins with `{KEY_MARK}`. It sends leads in the source's "
            "name and, if it has the roles, reads and exports those alone. It does not expire by itself.",
        },
    )
    add_components(spec, settings, today)
    add_paths(spec)
    add_operation(spec)
    made = spec.to_dict()
    for path in made["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation["parameters"] = [
                    *map(_as_sent, operation.get("parameters", [])),
                    {"$ref": "#/components/parameters/X-Request-Id"},
                ]
    return made


def _duplicates(settings: Settings) -> str:
    if not settings.duplicate_days:
        return "Whether a person came before is not looked for: no lead is a duplicate."
    return (
        "A lead whose e-mail address or telephone number came with another one in the "
        f"{settings.duplicate_days} days before, or in those of its source, is a duplicate: it is marked, or refused "
        "where its source wants that."
    )


def _as_sent(parameter: dict[str, Any]) -> dict[str, Any]:
    """Remove what holds in Python only from a parameter: that its absence is None."""
    if "schema" not in parameter:
        return parameter
    schema = dict(parameter["schema"])
    if schema.get("default", ...) is None:
        del schema["default"]
    if isinstance(schema.get("type"), list):
        (schema["type"],) = (kind for kind in schema["type"] if kind != "null")
    return {**parameter, "schema": schema}
