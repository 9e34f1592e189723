"""Buffers the requests of one process and writes them to Redis periodically, on a connection of its own.

It never delays a request or makes one fail: requests that cannot be written are dropped and counted.
"""

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from falcon.asgi import Response
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import RedisError

from ingest_api import metrics
from ingest_api.http.client_ip import ClientAddresses
from ingest_api.http.context import Request
from ingest_api.request_log import masking, redaction
from ingest_api.request_log.record import (
    HEADERS_MAX,
    LEADS,
    LOGIN,
    PATH_MAX,
    QUERY_MAX,
    STATUS_PATH,
    bounded,
    encode,
    is_text,
    kept,
    kept_of_accepted,
    kept_of_login,
)
from schema.queue.keys import REQUEST_ERRORS, REQUEST_ERRORS_HELD, REQUESTS, REQUESTS_HELD
from schema.queue.request_pages import page_of
from schema.queue.script import Script
from schema.runtime import logs
from schema.runtime.redis_clients import AsyncShardClient
from schema.settings import Settings

APPEND_PAGES = Script(
    Path(__file__).parent / "append_pages.lua",
    keys={
        "REQUESTS": REQUESTS,
        "REQUEST_ERRORS": REQUEST_ERRORS,
        "REQUESTS_HELD": REQUESTS_HELD,
        "REQUEST_ERRORS_HELD": REQUEST_ERRORS_HELD,
    },
    arguments=("most", "request_pages", "error_pages"),
)

# Flush interval, seconds. Requests are encoded together, while the code is in the CPU cache
# (docs/lab/2026-11-26-behind-the-constants.md).
LOG_FLUSH_INTERVAL = 0.2

# Bounds on the requests buffered until they are encoded: their number, and the bytes of bodies and responses.
NOTED_MAX = 100
NOTED_BYTES = 256 * 1024

# Most accepted leads that are kept of one flush interval, the latest: at 8,000 a second the whole log would hold little
# more than a second, and a twentieth of a POST would go into records that nobody can read in time.
ACCEPTED_MAX = 100

# Size (bytes) at which a page is closed, and most bytes of one write; a write has at least one page.
PAGE_BYTES = 256 * 1024
LOG_FLUSH_BYTES = 1024 * 1024

ACCEPTED, TOO_MANY = 202, 429

# Most requests that one process keeps while Redis is away; beyond that the oldest are dropped.
RECORDS_WAITING_MAX = 1000

log = logs.get(__name__)


class _Noted(NamedTuple):
    req: Request
    resp: Response
    status: int
    seconds: float
    moment: float  # time of the answer, seconds since 1970
    size: int  # bytes of body and response


class _Page(NamedTuple):
    requests: int
    content: bytes
    errors: bool  # whether the page belongs to the list of errors


class RequestLog:
    """Keeps the last requests and, separately, the last errors. Use it from the event loop."""

    def __init__(self, settings: Settings, shard: AsyncShardClient) -> None:
        """Take a client that nobody else uses, so that no lead waits behind the log; `close` closes it."""
        self._most = settings.request_log
        # Lowest status whose bodies are kept.
        self._least = {"all": 0, "errors": 400, "none": 1000}[settings.request_log_bodies]
        self._is_masked = settings.request_log_personal == "masked"
        self._addresses = ClientAddresses(settings.trusted_proxies, ())
        self._noted: list[_Noted] = []
        self._accepted: deque[_Noted] = deque()
        self._left_out = 0
        self._noted_bytes = 0
        self._pages: list[_Page] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._away = False  # whether Redis was unreachable at the last write
        self._redis = shard.client
        self._append = shard.client.register_script(APPEND_PAGES.source)
        self._keys = APPEND_PAGES.keys(shard.shard)

    def note(self, req: Request, resp: Response, status: int, seconds: float) -> None:
        """Buffer one answered request.

        Those answered with 429 are left out, so that nobody can push the others out with them; they are counted
        (leads_rejected_total) and have their line in the access log. So are accepted leads beyond ACCEPTED_MAX, and
        the status of a page that is open all day.
        """
        if not self._most or status == TOO_MANY or (status == 200 and req.path == STATUS_PATH):
            return
        size = len(req.context.body or b"") + len(resp.data or b"")
        noted = _Noted(req, resp, status, seconds, time.time(), size)
        self._noted_bytes += size
        if status == ACCEPTED and req.path == LEADS:
            self._accepted.append(noted)
            if len(self._accepted) > ACCEPTED_MAX:
                self._noted_bytes -= self._accepted.popleft().size
                self._left_out += 1
        else:
            self._noted.append(noted)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOG_FLUSH_INTERVAL, self._due)
        if len(self._noted) >= NOTED_MAX or self._noted_bytes >= NOTED_BYTES:
            self.write_down()
            if not self._away:
                self._start_flush()

    @property
    def waiting(self) -> int:
        """Number of requests not yet written."""
        return len(self._noted) + len(self._accepted) + sum(page.requests for page in self._pages if not page.errors)

    def write_down(self) -> None:
        """Encode the buffered requests into pages for the next write."""
        noted = [*self._noted, *self._accepted]
        self._noted.clear()
        self._accepted.clear()
        self._noted_bytes = 0
        if self._left_out:
            metrics.REQUEST_LOG_LEFT_OUT.inc(self._left_out)
            self._left_out = 0
        records: list[bytes] = []
        errors: list[bytes] = []
        for each in noted:
            try:
                record = self._record(each)
            except Exception as error:  # one request must not stop the others
                log.error("request not logged", reason=type(error).__name__)
                metrics.REQUEST_LOG_LOST.inc()
                continue
            records.append(record)
            if each.status >= 400:
                errors.append(record)
        self._pages += _pages(records, errors=False)
        self._pages += _pages(errors, errors=True)
        self._forget_the_oldest()

    async def close(self) -> None:
        """Write what is left, if Redis accepts it, and close the connection."""
        if self._timer is not None:
            self._timer.cancel()
        if self._flusher is not None:
            await self._flusher
        self.write_down()
        await self._flush()
        await self._redis.aclose()

    def _due(self) -> None:
        self._timer = None
        self.write_down()
        self._start_flush()
        if self._pages or self._is_flushing:
            # Retry: Redis may be away.
            self._timer = asyncio.get_running_loop().call_later(LOG_FLUSH_INTERVAL, self._due)

    @property
    def _is_flushing(self) -> bool:
        return self._flusher is not None and not self._flusher.done()

    def _start_flush(self) -> None:
        if self._pages and not self._is_flushing:
            self._flusher = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        """Write the pages until a write fails. Pages are kept while Redis is unreachable, and lost when it refuses."""
        while self._pages:
            pages = self.take()
            requests = sum(page.requests for page in pages if not page.errors)
            # The script expects request pages before error pages; a stable sort keeps the order within each.
            pages.sort(key=lambda page: page.errors)
            errors = sum(page.errors for page in pages)
            named = {"most": self._most, "request_pages": len(pages) - errors, "error_pages": errors}
            contents = [part for page in pages for part in (page.requests, page.content)]
            try:
                failed = await self._append(self._keys, [*APPEND_PAGES.values(named), *contents])
            except RedisAway:
                self._away = True
                self._pages = pages + self._pages
                self._forget_the_oldest()
                return
            except (RedisError, OSError) as error:
                log.warning("request log not written", reason=type(error).__name__)
                metrics.REQUEST_LOG_LOST.inc(requests)
                return
            self._away = False
            if failed:
                metrics.REQUEST_LOG_LOST.inc(failed)

    def take(self) -> list[_Page]:
        """Remove and return the pages of the next write."""
        size = count = 0
        for page in self._pages:
            size += len(page.content)
            if count and size > LOG_FLUSH_BYTES:
                break
            count += 1
        taken, self._pages = self._pages[:count], self._pages[count:]
        return taken

    def _forget_the_oldest(self) -> None:
        """Drop the oldest pages until at most RECORDS_WAITING_MAX requests wait."""
        while self.waiting > RECORDS_WAITING_MAX:
            page = self._pages.pop(0)
            if not page.errors:
                metrics.REQUEST_LOG_LOST.inc(page.requests)

    def _record(self, noted: _Noted) -> bytes:
        req, resp, status, seconds, moment, _ = noted
        context, scope = req.context, req.scope
        path, query = scope["path"], scope["query_string"]
        given: bytes | None = context.body
        if status == ACCEPTED and path == LEADS and given is not None and self._least <= status and not self._is_masked:
            body, body_remark, response, response_remark = kept_of_accepted(given, resp.data or b"")
        elif status >= self._least:
            body, body_remark = _body(given, path)
            response, response_remark = _response(req, resp, status)
            if self._is_masked:
                # Of a log-in redaction has left nothing but what it shows on purpose.
                body = body if path == LOGIN else masking.body(body)
                response = masking.answer(response)
        else:
            body = response = None
            body_remark = response_remark = "not kept: LEADS_REQUEST_LOG_BODIES"
        shown_path = redaction.parameters(path) if path != LEADS else path
        headers = redaction.headers(req.headers.items())
        parameters = redaction.parameters(query.decode("latin-1")) if query else ""
        if self._is_masked:
            shown_path = masking.path(shown_path) if path != LEADS else path
            headers, parameters = masking.headers(headers), masking.query(parameters) if query else ""
        return encode(
            (
                int((moment - seconds) * 1_000_000),
                int(seconds * 1_000_000),
                context.request_id,
                req.method,
                bounded(shown_path, PATH_MAX),
                status,
                context.reason,
                self._client(req),
                context.user,
                bounded(headers, HEADERS_MAX),
                bounded(parameters, QUERY_MAX),
                body,
                body_remark,
                response,
                response_remark,
            )
        )

    def _client(self, req: Request) -> str:
        return self._addresses.find(req.remote_addr, req.get_header("X-Forwarded-For"))


def _pages(records: list[bytes], *, errors: bool) -> list[_Page]:
    """Divide records into pages of about PAGE_BYTES."""
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
