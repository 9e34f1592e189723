"""The rate limit: a number of requests per window and client IP, over all processes and hosts.

The counters live in Redis and the group commit counts them. A POST of leads is counted in the
flush that appends them (COUNTED_IN_APPEND of its resource). Any other request waits at most
LEADS_RATE_LIMIT_TIMEOUT to be counted, and then goes on without a limit.
"""

import asyncio
import math

from falcon.asgi import Response

from ingest_api.http.client_ip import ClientAddresses
from ingest_api.http.context import Request
from ingest_api.http.envelope import rate_limited
from ingest_api.intake.append import AppendRequest, AppendResult, Verdict
from ingest_api.intake.group_commit import GroupCommit, QueueUnavailable
from schema.queue.keys import RATE_PREFIX
from schema.settings import Settings


class RateLimit:
    """Counts requests, refuses those over the limit, and writes the X-RateLimit headers."""

    def __init__(self, settings: Settings, commit: GroupCommit) -> None:
        self._limit = settings.rate_limit
        self._window = settings.rate_limit_window
        self._addresses = ClientAddresses(settings.trusted_proxies, settings.rate_limit_exempt)
        self._timeout = settings.rate_limit_timeout
        self._commit = commit

    def exempt(self, req: Request) -> None:
        """Never count this request."""
        req.context.is_counted = True

    def key(self, req: Request) -> str:
        """Return the counter's key for the request's client, or "" when it has no limit."""
        if not self._limit:
            return ""
        client = self._addresses.find(req.remote_addr, req.get_header("X-Forwarded-For"))
        return "" if self._addresses.is_exempt(client) else RATE_PREFIX + self._addresses.counted(client)

    async def count(self, req: Request) -> None:
        """Count a request that appends no leads.

        Raises the 429 when it is over the limit.
        """
        req.context.is_counted = True
        key = self.key(req)
        if not key:
            return
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._commit.submit(AppendRequest(rate_key=key))
        except (QueueUnavailable, TimeoutError):
            return
        self.note(req, answer)

    def note(self, req: Request, answer: AppendResult) -> None:
        """Keep a flush's count of the request for the headers.

        Raises the 429 when the request was over the limit.
        """
        req.context.is_counted = True
        if answer.used:
            req.context.used = answer.used
            req.context.window_left = math.ceil(answer.window_left / 1000)
        if answer.verdict is Verdict.RATE_LIMITED:
            raise rate_limited(req.context.window_left)

    def write_headers(self, req: Request, resp: Response) -> None:
        """Write X-RateLimit-Limit, -Remaining and -Reset (seconds until the window ends)."""
        used = req.context.used
        resp.set_headers(
            (
                ("X-RateLimit-Limit", str(self._limit)),
                ("X-RateLimit-Remaining", str(max(self._limit - used, 0))),
                ("X-RateLimit-Reset", str(req.context.window_left if used else self._window)),
            )
        )
