"""Collects the requests of one process and hands them over to the flushes of the group commit.

A request costs the making of a tuple here; everything else is done for a whole flush at once. Nothing of it can fail
a request: what Redis does not take is counted and forgotten.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator

from falcon.asgi import Request, Response

from ingest_api import metrics
from ingest_api.client_ip import ClientAddresses
from ingest_api.request_log import redaction
from ingest_api.request_log.record import (
    BODY_MAX,
    HEADERS_MAX,
    LOGIN,
    PATH_MAX,
    QUERY_MAX,
    bounded,
    encode,
    is_text,
    kept,
)
from schema import logs
from schema.settings import Settings

# Seconds after which requests that no flush took along get one of their own.
LINGER = 0.2

# Most requests kept in memory while Redis is away, and most bytes of them; the oldest are forgotten first.
WAITING_MAX = 2000
WAITING_BYTES = 8 * 1024 * 1024

# Bounds on what one flush takes along, so that no lead waits for the log: requests, and bytes.
TAKEN_MAX = 250
TAKEN_BYTES = 512 * 1024

# Requests that may wait to be written down; until then they hold on to their objects.
RAW_MAX = 200

Argument = str | bytes | int

log = logs.get(__name__)


class RequestLog:
    """Keeps the last requests, and apart the last errors. Use it from the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.request_log
        # The least status whose bodies are kept.
        self._least = {"all": 0, "errors": 400, "none": 1000}[settings.request_log_bodies]
        self._addresses = ClientAddresses(settings.trusted_proxies, ())
        self._raw: list[tuple[float, float, Request, Response]] = []
        self._written: deque[tuple[bytes, bool]] = deque()  # a record, and whether it is an error
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._send: Callable[[], None] = lambda: None

    def send_with(self, send: Callable[[], None]) -> None:
        """Call `send` when requests have waited for long enough: it makes a flush that takes them."""
        self._send = send

    def note(self, req: Request, resp: Response, seconds: float) -> None:
        """Note one answered request."""
        if not self._most:
            return
        self._raw.append((time.time(), seconds, req, resp))
        if len(getattr(req.context, "body", None) or b"") > BODY_MAX:
            # A few of them would be much to hold on to.
            self._write_down()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._due)
        if len(self._raw) >= RAW_MAX:
            self._write_down()

    def take(self) -> list[Argument]:
        """Return what the next flush takes along, as the script's last arguments.

        These are how many requests are kept, how many come now and how many of them are errors; then the requests,
        the oldest first, and the places of the errors among them.
        """
        self._write_down()
        taken: list[Argument] = []
        errors: list[Argument] = []
        size = 0
        while self._written and len(taken) < TAKEN_MAX and size < TAKEN_BYTES:
            record, is_error = self._written.popleft()
            if is_error:
                errors.append(len(taken))
            taken.append(record)
            size += len(record)
        self._bytes -= size
        return [self._most, len(taken), len(errors), *taken, *errors]

    @property
    def waiting(self) -> int:
        """How many requests wait for a flush."""
        return len(self._raw) + len(self._written)

    @staticmethod
    def lost(requests: int) -> None:
        """Count requests that are not in the log."""
        if requests:
            metrics.REQUEST_LOG_LOST.inc(requests)

    def _due(self) -> None:
        self._timer = None
        if self.waiting:
            # Again, in case that Redis is away.
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._due)
            self._send()

    def _write_down(self) -> None:
        raw, self._raw = self._raw, []
        suspect = redaction.is_suspect(b"\n".join(text for each in raw for text in self._texts(*each[2:])))
        for each in raw:
            try:
                record = self._record(*each, suspect)
            except Exception as error:  # whatever it is, no request and no lead waits for it
                log.error("request not logged", reason=type(error).__name__)
                self.lost(1)
                continue
            self._written.append((record, each[3].status_code >= 400))
            self._bytes += len(record)
        while len(self._written) > WAITING_MAX or self._bytes > WAITING_BYTES:
            self._bytes -= len(self._written.popleft()[0])
            self.lost(1)

    def _record(self, moment: float, seconds: float, req: Request, resp: Response, suspect: bool) -> bytes:
        """Write down one request; `suspect` says that a body of those beside it or its own may hold a secret."""
        context, scope, status = req.context, req.scope, resp.status_code
        path = scope["path"]
        if status >= self._least:
            body, body_remark = _body(req, suspect, login=path == LOGIN)
            response, response_remark = _response(req, resp, suspect)
        else:
            body = response = None
            body_remark = response_remark = "not kept: LEADS_REQUEST_LOG_BODIES"
        query = scope["query_string"]
        return encode(
            (
                int((moment - seconds) * 1_000_000),
                int(seconds * 1_000_000),
                context.request_id,
                req.method,
                bounded(redaction.parameters(path), PATH_MAX),
                status,
                context.reason,
                self._client(req),
                getattr(context, "user", ""),
                bounded(redaction.headers(scope["headers"]), HEADERS_MAX),
                bounded(redaction.parameters(query.decode("latin-1")), QUERY_MAX) if query else "",
                body,
                body_remark,
                response,
                response_remark,
            )
        )

    def _texts(self, req: Request, resp: Response) -> Iterator[bytes]:
        """Yield what may be kept of the bodies."""
        if resp.status_code >= self._least:
            yield getattr(req.context, "body", b"")[:BODY_MAX]
            yield _sent(resp)[:BODY_MAX]

    def _client(self, req: Request) -> str:
        return self._addresses.find(req.remote_addr, req.get_header("X-Forwarded-For"))


def _body(req: Request, suspect: bool, login: bool) -> tuple[str | None, str]:
    given: bytes | None = getattr(req.context, "body", None)
    if given is None:
        return None, "not read"
    if not given:
        return "", ""
    # What is no JSON may be a form, whose names can be written otherwise.
    suspect = (suspect and redaction.is_suspect(given[:BODY_MAX])) or (
        req.context.reason == "bad_json" and b"%" in given
    )
    return kept(given, suspect=suspect, login=login)


def _response(req: Request, resp: Response, suspect: bool) -> tuple[str | None, str]:
    if resp.stream is not None:
        return None, "not kept: it was streamed"
    data = _sent(resp)
    if not data or req.method == "HEAD" or resp.status_code in (204, 304):
        return "", ""
    if not is_text(resp.content_type or ""):
        return None, f"not kept: {len(data)} bytes of {resp.content_type}"
    return kept(data, suspect=suspect and redaction.is_suspect(data[:BODY_MAX]))


def _sent(resp: Response) -> bytes:
    data: bytes | None = resp.data
    return data if data is not None else (resp.text or "").encode()
