"""Collects the requests of one process and hands them over to the flushes of the group commit.

Nothing of it can fail a request: what Redis does not take is counted and forgotten.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from falcon.asgi import Request, Response

from ingest_api import metrics
from ingest_api.http.client_ip import ClientAddresses
from ingest_api.intake.redis_script import Argument
from ingest_api.request_log import redaction
from ingest_api.request_log.record import (
    HEADERS_MAX,
    LEADS,
    LOGIN,
    PATH_MAX,
    QUERY_MAX,
    bounded,
    encode,
    is_text,
    kept,
    kept_of_accepted,
    kept_of_login,
    page_of,
)
from schema.runtime import logs
from schema.settings import Settings

# Seconds that requests wait for others, to be written down one after another: in between, each would take three times
# as long, because the processor has to fetch all of this code again.
LINGER = 0.2

# Bounds on what waits so: requests, and bytes of bodies and responses.
NOTED_MAX = 100
NOTED_BYTES = 256 * 1024

# A page is closed when it holds so many bytes. A flush takes along a page of each list at least, and so many bytes.
PAGE_BYTES = 256 * 1024
TAKEN_BYTES = 1024 * 1024

# Most requests that one process keeps while Redis is away; the oldest are forgotten when there are more.
WAITING_MAX = 1000

log = logs.get(__name__)


class _Noted(NamedTuple):
    req: Request
    resp: Response
    status: int
    seconds: float
    moment: float  # when it was answered, seconds since 1970


class _Page(NamedTuple):
    requests: int
    content: bytes
    errors: bool  # whether it is one of the errors' list


class Taken(NamedTuple):
    """What a flush takes along."""

    arguments: list[Argument]  # the script's last ones: see append.lua
    requests: int

    def lost(self) -> None:
        """Count them as requests that did not get into the log."""
        metrics.REQUEST_LOG_LOST.inc(self.requests)


NOTHING = Taken([0, 0, 0], 0)


class RequestLog:
    """Keeps the last requests, and apart the last errors. Use it from the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.request_log
        # The least status whose bodies are kept.
        self._least = {"all": 0, "errors": 400, "none": 1000}[settings.request_log_bodies]
        self._addresses = ClientAddresses(settings.trusted_proxies, ())
        self._noted: list[_Noted] = []
        self._noted_bytes = 0
        self._pages: list[_Page] = []
        self._timer: asyncio.TimerHandle | None = None
        self._send: Callable[[], None] = lambda: None

    def send_with(self, send: Callable[[], None]) -> None:
        """Call `send` when requests have waited for long enough: it makes a flush that takes them."""
        self._send = send

    def note(self, req: Request, resp: Response, status: int, seconds: float) -> None:
        """Note one answered request."""
        if not self._most:
            return
        self._noted.append(_Noted(req, resp, status, seconds, time.time()))
        self._noted_bytes += len(req.context.body or b"") + len(resp.data or b"")
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._due)
        if len(self._noted) >= NOTED_MAX or self._noted_bytes >= NOTED_BYTES:
            self.write_down()

    @property
    def waiting(self) -> int:
        """How many requests wait for a flush."""
        return len(self._noted) + sum(page.requests for page in self._pages if not page.errors)

    def write_down(self) -> None:
        """Write down what was noted, for the next flush to take."""
        noted, self._noted, self._noted_bytes = self._noted, [], 0
        records: list[bytes] = []
        errors: list[bytes] = []
        for each in noted:
            try:
                record = self._record(each)
            except Exception as error:  # whatever it is, the others are written down
                log.error("request not logged", reason=type(error).__name__)
                metrics.REQUEST_LOG_LOST.inc()
                continue
            records.append(record)
            if each.status >= 400:
                errors.append(record)
        self._pages += _pages(records, errors=False)
        self._pages += _pages(errors, errors=True)
        while self.waiting > WAITING_MAX:
            page = self._pages.pop(0)
            if not page.errors:
                metrics.REQUEST_LOG_LOST.inc(page.requests)

    def take(self) -> Taken:
        """Return what the next flush takes along."""
        if not self._pages:
            return NOTHING
        size = count = 0
        for page in self._pages:
            size += len(page.content)
            if count and size > TAKEN_BYTES:
                break
            count += 1
        taken, self._pages = self._pages[:count], self._pages[count:]
        # The requests' pages first; sorting keeps the order within each.
        taken.sort(key=lambda page: page.errors)
        errors = sum(page.errors for page in taken)
        arguments: list[Argument] = [self._most, len(taken) - errors, errors]
        for page in taken:
            arguments += (page.requests, page.content)
        return Taken(arguments, sum(page.requests for page in taken if not page.errors))

    def _due(self) -> None:
        self._timer = None
        self.write_down()
        if self._pages:
            # Again, in case that Redis is away.
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._due)
            self._send()

    def _record(self, noted: _Noted) -> bytes:
        req, resp, status, seconds, moment = noted
        context, scope = req.context, req.scope
        path, query = scope["path"], scope["query_string"]
        given: bytes | None = context.body
        if status == 202 and path == LEADS and given is not None and self._least <= status:
            body, body_remark, response, response_remark = kept_of_accepted(given, resp.data or b"")
        elif status >= self._least:
            body, body_remark = _body(given, path)
            response, response_remark = _response(req, resp, status)
        else:
            body = response = None
            body_remark = response_remark = "not kept: LEADS_REQUEST_LOG_BODIES"
        return encode(
            (
                int((moment - seconds) * 1_000_000),
                int(seconds * 1_000_000),
                context.request_id,
                req.method,
                bounded(redaction.parameters(path) if path != LEADS else path, PATH_MAX),
                status,
                context.reason,
                self._client(req),
                context.user,
                bounded(redaction.headers(req.scope["headers"]), HEADERS_MAX),
                bounded(redaction.parameters(query.decode("latin-1")), QUERY_MAX) if query else "",
                body,
                body_remark,
                response,
                response_remark,
            )
        )

    def _client(self, req: Request) -> str:
        return self._addresses.find(req.remote_addr, req.get_header("X-Forwarded-For"))


def _pages(records: list[bytes], *, errors: bool) -> list[_Page]:
    """Divide records into pages."""
    pages: list[_Page] = []
    while records:
        size = count = 0
        while count < len(records) and size < PAGE_BYTES:
            size += len(records[count])
            count += 1
        pages.append(_Page(count, page_of(records[:count]), errors))
        records = records[count:]
    return pages


def _body(given: bytes | None, path: str) -> tuple[Any, str]:
    if given is None:
        return None, "not read"
    if not given:
        return "", ""
    return kept_of_login(given) if path == LOGIN else kept(given)


def _response(req: Request, resp: Response, status: int) -> tuple[Any, str]:
    data = resp.data
    if data is None:
        if resp.stream is not None:
            return None, "not kept: it was streamed"
        data = (resp.text or "").encode()
    if not data or status in (204, 304) or req.method == "HEAD":
        return "", ""
    kind = resp.content_type or ""
    if not is_text(kind):
        return None, f"not kept: {len(data)} bytes of {kind}"
    return kept(data)
