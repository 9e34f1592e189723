"""/api/openapi.json and /api/docs"""

import importlib.util
from datetime import UTC, date, datetime
from pathlib import Path

import falcon
import orjson
from falcon.asgi import Response

from ingest_api import openapi
from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON
from schema.settings import Settings

# Swagger UI's files come from its Python package; nothing is loaded from a CDN.
ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon-32x32.png": "image/png"}

PAGE = """\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width">
  <title>Lead Ingest</title>
  <link rel="stylesheet" href="docs/swagger-ui.css">
  <link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
  <div id="ui"></div>
  <script src="docs/swagger-ui-bundle.js"></script>
  <script src="docs/start.js"></script>
</body>
</html>
"""

START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", deepLinking: true});\n'

_POLICY = (
    "Content-Security-Policy",
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
)


class OpenApi:
    """The OpenAPI document."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._day: date | None = None
        self._document = b""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the document without an envelope. It is made once a day, because it contains today's date."""
        today = datetime.now(UTC).date()
        if today != self._day:
            self._day, self._document = today, orjson.dumps(openapi.document(self._settings, today))
        resp.content_type = JSON
        resp.data = self._document

    on_head = on_get


class Page:
    """Swagger UI's page for the document."""

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the page."""
        resp.content_type = "text/html; charset=utf-8"
        resp.set_headers((_POLICY,))
        resp.text = PAGE

    on_head = on_get


class Assets:
    """The page's files."""

    def __init__(self) -> None:
        found = importlib.util.find_spec("swagger_ui")
        if found is None or found.origin is None:
            raise ModuleNotFoundError("swagger_ui")
        directory = Path(found.origin).parent / "static"
        self._files = {name: ((directory / name).read_bytes(), kind) for name, kind in ASSETS.items()}
        self._files["start.js"] = (START.encode(), "text/javascript")

    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        """Answer one of the files. Raises the 404."""
        if name not in self._files:
            raise falcon.HTTPNotFound
        resp.data, resp.content_type = self._files[name]
        resp.cache_control = ["public", "max-age=86400"]

    on_head = on_get
