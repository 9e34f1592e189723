"""The rate limit: a number of requests per window and client IP, over all processes and hosts.

The counters live in Redis and the group commit counts them. A POST of a lead is counted in the
flush that appends it, and a bulk before its body is read (COUNTED_BY_RESOURCE of both). Any other
request waits at most LEADS_RATE_LIMIT_TIMEOUT to be counted, and then goes on without a limit.
"""

import asyncio
import math
import time

from falcon.asgi import Response

from ingest_api.http.client_ip import ClientAddresses
from ingest_api.http.context import Request
from ingest_api.http.envelope import rate_limited
from ingest_api.intake.append import Appender, AppendRequest, AppendResult, Verdict
from ingest_api.intake.group_commit import QueueUnavailable
from schema.queue.keys import RATE_PREFIX
from schema.settings import Settings

# Most clients over their limit that are remembered, some 200 bytes each; beyond that all are forgotten.
USED_UP_MAX = 10_000


class RateLimit:
    """Counts requests, refuses those over the limit, and writes the X-RateLimit headers."""

    def __init__(self, settings: Settings, commit: Appender) -> None:
        self._limit = settings.rate_limit
        self._window = settings.rate_limit_window
        self._addresses = ClientAddresses(settings.trusted_proxies, settings.rate_limit_exempt)
        self._timeout = settings.rate_limit_timeout
        self._commit = commit
        # Clients that this process has refused: until when their window lasts, by time.monotonic().
        self._used_up: dict[str, float] = {}

    def exempt(self, req: Request) -> None:
        """Never count this request."""
        req.context.is_counted = True

    def key(self, req: Request) -> str:
        """Return the counter's key for the request's client, or "" when it has no limit or was counted."""
        if not self._limit or req.context.is_counted:
            return ""
        client = self._addresses.find(req.remote_addr, req.get_header("X-Forwarded-For"))
        return "" if self._addresses.is_exempt(client) else RATE_PREFIX + self._addresses.counted(client)

    async def count(self, req: Request) -> None:
        """Count a request that appends no leads.

        Raises the 429 when it is over the limit.
        """
        key = self.key(req)
        req.context.is_counted = True
        if not key:
            return
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._commit.submit(AppendRequest(rate_key=key))
        except (QueueUnavailable, TimeoutError):
            return
        self.note(req, key, answer)

    async def count_before_body(self, req: Request) -> None:
        """Count a request that is to append leads before its body is read.

        Raises the 429 when it is over the limit, and QueueUnavailable.
        """
        key = self.key(req)
        req.context.is_counted = True
        if key:
            self.note(req, key, await self._commit.submit(AppendRequest(rate_key=key)))

    async def refuse_used_up(self, req: Request) -> None:
        """Count the request now if this process knows that its client's window is used up, so that no body is read.

        Raises the 429, and QueueUnavailable.
        """
        if not self._used_up:
            return
        key = self.key(req)
        until = self._used_up.get(key)
        if until is None:
            return
        if until < time.monotonic():
            del self._used_up[key]
        else:
            await self.count_before_body(req)

    def note(self, req: Request, key: str, answer: AppendResult) -> None:
        """Keep a flush's count of the request under `key` for the headers.

        Raises the 429 when the request was over the limit.
        """
        req.context.is_counted = True
        if answer.used:
            req.context.used = answer.used
            req.context.window_left = math.ceil(answer.window_left / 1000)
        if answer.verdict is Verdict.RATE_LIMITED:
            if len(self._used_up) >= USED_UP_MAX:
                self._used_up.clear()
            self._used_up[key] = time.monotonic() + answer.window_left / 1000
            raise rate_limited(req.context.window_left)

    def write_headers(self, req: Request, resp: Response) -> None:
        """Write X-RateLimit-Limit, -Remaining and -Reset (seconds until the window ends), if there is a limit."""
        if not self._limit:
            return
        used = req.context.used
        resp.set_headers(
            (
                ("X-RateLimit-Limit", str(self._limit)),
                ("X-RateLimit-Remaining", str(max(self._limit - used, 0))),
                ("X-RateLimit-Reset", str(req.context.window_left if used else self._window)),
            )
        )
