"""The OpenAPI 3.1 document, made from the schemas that check the requests."""

from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from ingest_api.openapi.components import add_components
from ingest_api.openapi.paths import add_paths
from schema import __version__
from schema.settings import Settings

DESCRIPTION = """\
Takes leads in over HTTP, loses none and stores none twice. A lead is answered with 202 once it is durable
in the queue, and stored soon after. Get a token from `/api/login_check`, and send it as `Authorization: Bearer`.
"""


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
    add_components(spec, settings)
    add_paths(spec)
    return spec.to_dict()
