"""The bulk limit: leads that a user may send in bulk in a window, over all processes and hosts.

The counters live in Redis beside those of the rate limit, and the flush that appends a bulk counts
its leads (docs/adr/0012-bulk-has-a-limit-of-its-own.md).
"""

import contextlib
import hashlib
import math

from ingest_api.http.envelope import rate_limited
from ingest_api.intake.append import Appender, AppendRequest, AppendResult, Verdict
from ingest_api.intake.group_commit import QueueUnavailable
from schema.queue.keys import BULK_RATE_PREFIX
from schema.settings import Settings


class BulkLimit:
    """Counts the leads of bulk requests by user, and refuses those over the limit."""

    def __init__(self, settings: Settings, commit: Appender) -> None:
        self._is_on = bool(settings.bulk_limit and settings.rate_limit)
        self._commit = commit

    def key(self, user: str) -> str:
        """Return the counter's key for the user, or "" when there is no limit."""
        # The hash, because a user's name is an e-mail address.
        return BULK_RATE_PREFIX + hashlib.sha256(user.encode()).hexdigest() if self._is_on else ""

    async def check(self, user: str) -> None:
        """Ask whether the user's limit is used up, before a body is read. Nothing is counted.

        Raises the 429, and QueueUnavailable.
        """
        if self._is_on:
            self.note(await self._commit.submit(AppendRequest(self.key(user), cost=0)))

    async def charge(self, user: str, leads: int) -> None:
        """Count the leads of a request that appends none. While Redis is away they are not counted."""
        if self._is_on:
            with contextlib.suppress(QueueUnavailable):
                await self._commit.submit(AppendRequest(self.key(user), cost=leads))

    def note(self, answer: AppendResult) -> None:
        """Raise the 429 when the flush found the limit used up."""
        if answer.verdict is Verdict.RATE_LIMITED:
            raise rate_limited(math.ceil(answer.window_left / 1000), "Bulk limit exceeded", "bulk_limited")
