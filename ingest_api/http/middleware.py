"""Middleware of every request: id, rate limit, metrics and log lines."""

import os
import re
import time
from typing import Any, Protocol

import falcon
from falcon.asgi import Response

from ingest_api import metrics
from ingest_api.http.access_log import AccessLog
from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON, serialize_error
from schema.audit.event import user_id
from schema.lead.lead_id import to_text

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")

# Where leads come in.
LEADS_IN = ("/api/leads", "/api/leads/bulk")

# Paths that may answer in media types other than JSON.
OTHER_TYPES = ("/api/docs", "/api/leads/export", "/api/leads/changes")


class RequestLimit(Protocol):
    """Counts requests; implemented by ingest_api.intake.rate_limit."""

    def exempt(self, req: Request) -> None:
        """Never count this request."""

    async def count(self, req: Request) -> None:
        """Count a request that appends no leads. Raises the 429."""

    def write_headers(self, req: Request, resp: Response) -> None:
        """Write the headers of the rate limit."""


class RequestLog(Protocol):
    """Keeps the last requests; implemented by ingest_api.request_log.collector."""

    def note(self, req: Request, resp: Response, status: int, seconds: float) -> None:
        """Buffer one answered request."""


class RefusedLeads(Protocol):
    """Counts refused leads; implemented by ingest_api.intake.refused_leads."""

    def note(self, number: int) -> None:
        """Buffer so many leads that were refused now."""


class RequestMiddleware:
    """Runs before and after each resource."""

    def __init__(
        self,
        limit: RequestLimit,
        requests: metrics.Requests,
        access_log: AccessLog,
        request_log: RequestLog,
        refused: RefusedLeads,
    ) -> None:
        self._limit = limit
        self._requests = requests
        self._access_log = access_log
        self._request_log = request_log
        self._refused = refused

    async def process_request(self, req: Request, resp: Response) -> None:
        """Set the request id. Raises the 406 when the client does not accept JSON."""
        context = req.context
        context.started = time.perf_counter()
        given = req.get_header("X-Request-Id")
        context.request_id = given if given and SANE_REQUEST_ID.fullmatch(given) else to_text(os.urandom(16))
        path = req.path
        if not path.startswith("/api"):
            self._limit.exempt(req)
        elif req.accept != "*/*" and not req.client_accepts(JSON) and not path.startswith(OTHER_TYPES):
            raise falcon.HTTPNotAcceptable(title="This service answers in application/json only.")

    async def process_resource(self, req: Request, resp: Response, resource: Any, params: dict[str, Any]) -> None:
        """Count the request, unless its resource does (COUNTED_BY_RESOURCE)."""
        if not req.context.is_counted and req.method not in getattr(resource, "COUNTED_BY_RESOURCE", ()):
            await self._limit.count(req)

    async def process_response(self, req: Request, resp: Response, resource: Any, succeeded: bool) -> None:
        """Count requests that were refused earlier, write the headers, and log the request."""
        context = req.context
        if not context.is_counted:
            try:
                await self._limit.count(req)
            except falcon.HTTPError as error:
                resp.status = error.status
                resp.set_headers(error.headers or {})
                serialize_error(req, resp, error)
        resp.set_header("X-Request-Id", context.request_id)
        self._limit.write_headers(req, resp)
        self._note(req, resp)

    def _note(self, req: Request, resp: Response) -> None:
        # The template, because path and query may hold personal data.
        route = req.uri_template or "none"
        status = resp.status_code
        took = time.perf_counter() - req.context.started
        self._requests.note(route, req.method, status, took - req.context.waited)
        if req.context.reason:
            metrics.REJECTED.labels(req.context.reason).inc()
        if route in LEADS_IN and req.method == "POST" and (status >= 400 or req.context.refused):
            # A bulk request that is refused before its items are read counts as one lead.
            self._refused.note(req.context.refused or 1)
        user = user_id(req.context.user) if req.context.user else ""
        self._access_log.note(req.context.request_id, user, req.method, route, status, req.context.reason, took)
        if req.path.startswith("/api"):
            self._request_log.note(req, resp, status, took)
