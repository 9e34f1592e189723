"""Collects the requests of one process and hands them over to the flushes of the group commit.

Nothing of it can fail a request: what Redis does not take is counted and forgotten.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from falcon.asgi import Request, Response

from ingest_api import metrics
from ingest_api.client_ip import ClientAddresses
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
)
from ingest_api.script_connection import Argument
from schema import logs
from schema.settings import Settings

# Seconds after which requests that no flush took along get one of their own.
LINGER = 0.2

# Most requests that one process keeps while Redis is away; the oldest quarter is forgotten when there are more.
WAITING_MAX = 1000

# Bound on what one flush takes along, in bytes, so that no lead waits for the log.
TAKEN_BYTES = 1024 * 1024


log = logs.get(__name__)


class RequestLog:
    """Keeps the last requests, and apart the last errors. Use it from the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.request_log
        # The least status whose bodies are kept.
        self._least = {"all": 0, "errors": 400, "none": 1000}[settings.request_log_bodies]
        self._addresses = ClientAddresses(settings.trusted_proxies, ())
        self._records: list[bytes] = []
        self._errors: list[int] = []  # their places among the records
        self._timer: asyncio.TimerHandle | None = None
        self._send: Callable[[], None] = lambda: None

    def send_with(self, send: Callable[[], None]) -> None:
        """Call `send` when requests have waited for long enough: it makes a flush that takes them."""
        self._send = send

    def note(self, req: Request, resp: Response, status: int, seconds: float) -> None:
        """Note one answered request."""
        if not self._most:
            return
        # At once: to keep requests and their bodies for later would take more memory, and no less time.
        try:
            record = self._record(req, resp, status, seconds)
        except Exception as error:  # whatever it is, no request suffers from it
            log.error("request not logged", reason=type(error).__name__)
            metrics.REQUEST_LOG_LOST.inc()
            return
        if status >= 400:
            self._errors.append(len(self._records))
        self._records.append(record)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._due)
        elif len(self._records) > WAITING_MAX:
            self._forget(len(self._records) // 4)

    @property
    def waiting(self) -> int:
        """How many requests wait for a flush."""
        return len(self._records)

    def take(self) -> list[Argument]:
        """Return what the next flush takes along, as the script's last arguments.

        These are how many requests are kept, how many come now and how many of them are errors; then the requests,
        the oldest first, and the places of the errors among them.
        """
        records, errors = self._records, self._errors
        self._records, self._errors = [], []
        if sum(map(len, records)) > TAKEN_BYTES:
            count = max(1, bisect_right(list(accumulate(map(len, records))), TAKEN_BYTES))
            self._records, records = records[count:], records[:count]
            self._errors = [place - count for place in errors if place >= count]
            errors = [place for place in errors if place < count]
        return [self._most, len(records), len(errors), *records, *errors]

    @staticmethod
    def lost(taken: list[Argument]) -> None:
        """Count requests that were taken and did not get into the log."""
        metrics.REQUEST_LOG_LOST.inc(int(taken[1]))

    def _due(self) -> None:
        self._timer = None
        if self.waiting:
            # Again, in case that Redis is away.
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._due)
            self._send()

    def _forget(self, number: int) -> None:
        del self._records[:number]
        self._errors = [place - number for place in self._errors if place >= number]
        metrics.REQUEST_LOG_LOST.inc(number)

    def _record(self, req: Request, resp: Response, status: int, seconds: float) -> bytes:
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
                int((time.time() - seconds) * 1_000_000),
                int(seconds * 1_000_000),
                context.request_id,
                req.method,
                bounded(redaction.parameters(path) if path != LEADS else path, PATH_MAX),
                status,
                context.reason,
                self._client(req),
                context.user,
                bounded(redaction.headers(req._asgi_headers.items()), HEADERS_MAX),
                bounded(redaction.parameters(query.decode("latin-1")), QUERY_MAX) if query else "",
                body,
                body_remark,
                response,
                response_remark,
            )
        )

    def _client(self, req: Request) -> str:
        return self._addresses.find(req.remote_addr, req.get_header("X-Forwarded-For"))


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
