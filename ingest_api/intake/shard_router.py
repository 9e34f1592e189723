"""The router: which shard of the queue a request goes to.

A lead with an Idempotency-Key always goes to the same shard, or it could be stored twice; all leads of a source do, for
its rate and its daily cap to be counted there. Others go to the shard that counts their client's requests, where that
is limited, or else to each shard for a while; and to any that is well while that one is away.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from ingest_api import metrics
from ingest_api.intake.append import AppendRequest, AppendResult, Verdict, handed_on
from ingest_api.intake.group_commit import GroupCommit, NotSent, QueueUnavailable, TraceFlush, untraced
from schema.queue.keys import BULK_RATE_PREFIX, PROBE_PREFIX, source_name
from schema.runtime.redis_clients import AsyncShardClient
from schema.settings import Settings
from schema.settings.shards import home_of

# Interval (seconds) of the probe of shards that are away, and age at which the number of leads waiting is asked again.
PROBE_INTERVAL = 0.25
WAITING_MAX_AGE = 1.0

# Time (seconds) for which leads that may go to any shard go to the same one: they share its flushes, as with one shard.
SHARD_TURN = 0.2

# Counted by Redis like a client's requests: a write, which replicas have to confirm.
PROBE = AppendRequest(rate_key=f"{PROBE_PREFIX}flush")


class ShardRouter:
    """Submits requests to the shards of one queue and, once that was moved, of the next. Use it from the event loop."""

    def __init__(
        self,
        shards: Sequence[AsyncShardClient],
        settings: Settings,
        on_flush: Callable[[int, int, int], None],
        *,
        next_queue: "ShardRouter | None" = None,
        reports: bool = True,
        trace_flush: TraceFlush = untraced,
    ) -> None:
        """Take clients with one connection each, which `close` closes. A next queue's router does not report itself.

        `on_flush` is called as by GroupCommit, with the leads that wait in all shards.
        """
        self._reports = reports
        self._next = next_queue
        self._on_flush = on_flush
        self._phase = random.random() * len(shards)
        self._is_watched = len(shards) > 1 or settings.redis_replicas > 0
        self._watch: asyncio.Task[None] | None = None
        self._commits = [
            GroupCommit(each.client, settings, self._flushed, each.shard, self._elsewhere(number), trace_flush)
            for number, each in enumerate(shards)
        ]

    async def submit(self, request: AppendRequest) -> AppendResult:
        """Put a request into the next flush of its shard and wait for its result, as GroupCommit.submit.

        Raises QueueUnavailable when its shard is away or, for a request without a key or source, when all are.
        """
        if len(self._commits) == 1:
            result = await self._commits[0].submit(request)
        elif request.source:
            result = await self._submit_at(source_name(request.source.name), request)
        elif request.key:
            result = await self._submit_at(request.key, request)
        else:
            result = await self._submit_anywhere(request)
        if result.verdict is not Verdict.MOVED:
            return result
        if self._next is None:
            raise QueueUnavailable("moved")
        # What the source has sent today goes along, until the move is over and has handed it on; and first leads do.
        return await self._next.submit(handed_on(request, result))

    def start(self) -> None:
        """Begin to watch the shards. One without replicas needs none: each request finds out whether it is back."""
        if self._is_watched:
            self._watch = asyncio.create_task(self._look_after())
        if self._next is not None:
            self._next.start()

    async def close(self) -> None:
        """Wait for the flushes under way, then close the connections."""
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*(each.close() for each in self._commits))
        if self._next is not None:
            await self._next.close()

    @property
    def waiting(self) -> int:
        """Leads that wait in all shards, as of their last flushes."""
        return sum(each.waiting for each in self._commits) + (self._next.waiting if self._next else 0)

    @property
    def away(self) -> int:
        """Shards that are not reached, as of their last flushes."""
        return sum(each.is_away for each in self._commits) + (self._next.away if self._next else 0)

    async def _submit_at(self, name: str, request: AppendRequest) -> AppendResult:
        """Submit a request to the shard that has the key of this name."""
        home = self._home(name)
        if home.is_away:
            raise NotSent("the shard is away")
        if not request.rate_key or self._home(request.rate_key) is home:
            return await home.submit(request)
        return await self._submit_counted(request, home)

    async def _submit_anywhere(self, request: AppendRequest) -> AppendResult:
        if request.leads and request.rate_key.startswith(BULK_RATE_PREFIX):
            # A user's bulks are counted in one shard, and spread over all.
            return await self._submit_counted(request, None)
        home = self._home(request.rate_key) if request.rate_key else None
        for commit in self._in_order(home):
            try:
                return await commit.submit(request)
            except NotSent:
                continue
            except QueueUnavailable:
                # A lead may have been written, and must not be written elsewhere too.
                if request.leads:
                    raise
        raise NotSent("no shard answers")

    async def _submit_counted(self, request: AppendRequest, commit: GroupCommit | None) -> AppendResult:
        """Count a request in its client's shard, then append its leads in another, by default in any."""
        counted: AppendResult | None = None
        # While nobody can count, leads are accepted all the same.
        with suppress(QueueUnavailable):
            counted = await self._submit_anywhere(AppendRequest(request.rate_key, cost=request.cost))
            if counted.verdict is Verdict.RATE_LIMITED:
                return counted
        appending = request._replace(rate_key="")
        result = await (commit.submit(appending) if commit else self._submit_anywhere(appending))
        return result._replace(used=counted.used, window_left=counted.window_left) if counted else result

    def _home(self, name: str) -> GroupCommit:
        return self._commits[home_of(name, len(self._commits))]

    def _in_order(self, home: GroupCommit | None) -> Iterator[GroupCommit]:
        """Yield the shards that are well, first `home`, or else the one whose turn it is; when none is, one of them."""
        if home is None:
            turn = int(asyncio.get_running_loop().time() / SHARD_TURN + self._phase)
            first = turn % len(self._commits)
        else:
            first = self._commits.index(home)
        ordered = self._commits[first:] + self._commits[:first]
        well = [each for each in ordered if not each.is_away]
        yield from well or ordered[:1]

    def _elsewhere(self, number: int) -> Callable[[], int]:
        return lambda: self.waiting - self._commits[number].waiting

    def _flushed(self, leads: int, _: int, tickets: int) -> None:
        self._on_flush(leads, self.waiting, tickets)

    async def _look_after(self) -> None:
        """Probe the shards that are away, and ask the others how many leads wait and which replicas they have."""
        loop = asyncio.get_running_loop()
        ask_at = 0.0
        while True:
            asking = loop.time() >= ask_at
            if asking:
                ask_at = loop.time() + WAITING_MAX_AGE
            probes = [
                each.submit(PROBE if each.is_away else AppendRequest())
                for each in self._commits
                if each.is_away or asking
            ]
            await asyncio.gather(*probes, return_exceptions=True)
            if self._reports:
                metrics.SHARDS_AWAY.set(self.away)
            await asyncio.sleep(PROBE_INTERVAL)
