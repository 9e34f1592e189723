"""/ and /page/{name}: the page for people, and the links for everybody else."""

import hashlib
from pathlib import Path

import falcon
from falcon.asgi import Response

from ingest_api.http.context import Request
from ingest_api.http.envelope import success
from schema import __version__

STATIC = Path(__file__).parents[1] / "page"
INDEX_FILE = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

LINKS = {
    "docs": "/api/docs",
    "openapi": "/api/openapi.json",
    "login": "/api/login_check",
    "leads": "/api/leads",
    "status": "/api/status",
    "live": "/health/live",
    "ready": "/health/ready",
}

# Nothing but the page's own files runs, and it talks to nobody but this service.
_POLICY = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
)


class PageFiles:
    """The page's files, read once."""

    def __init__(self) -> None:
        # An editor may have files of its own there.
        paths = [path for path in STATIC.iterdir() if path.suffix in MEDIA_TYPES]
        self._files = {path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in paths}
        self._tags = {name: hashlib.sha256(data).hexdigest()[:16] for name, (data, _) in self._files.items()}

    def answer(self, req: Request, resp: Response, name: str) -> None:
        """Answer a file, or 304 when the client has it. Raises the 404."""
        if name not in self._files:
            raise falcon.HTTPNotFound
        resp.set_headers(_POLICY)
        resp.etag = self._tags[name]
        # So that an upgrade is seen at once.
        resp.cache_control = ["no-cache"]
        if req.if_none_match and any(each in ("*", self._tags[name]) for each in req.if_none_match):
            resp.status = 304
        else:
            resp.data, resp.content_type = self._files[name]


class Root:
    """The page for browsers, and for other clients the links."""

    def __init__(self, files: PageFiles | None) -> None:
        """Take the page's files, or None where there is no page (LEADS_PAGE)."""
        self._files = files

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer by what the client prefers; one that does not say gets JSON."""
        resp.append_header("Vary", "Accept")
        kinds = ("application/json", "text/html")
        if self._files is not None and req.accept != "*/*" and req.client_prefers(kinds) == "text/html":
            self._files.answer(req, resp, INDEX_FILE)
        else:
            success(resp, 200, "Lead Ingest", {"version": __version__, "links": LINKS})

    on_head = on_get


class PageFile:
    """One of the page's files."""

    def __init__(self, files: PageFiles) -> None:
        self._files = files

    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        """Answer it. Raises the 404."""
        self._files.answer(req, resp, name)

    on_head = on_get
