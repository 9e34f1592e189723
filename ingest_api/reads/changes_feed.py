"""Answers readers of `changes`: those at the same place share a read, and those at the end wait together."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.parameters.changes import LATEST, ChangesQuery
from ingest_api.reads import changes
from ingest_api.reads.changes import Step
from ingest_api.reads.changes_cursor import ChangesCursor
from ingest_api.reads.changes_watch import ChangesWatch

_Place = tuple[str, int, str | None]  # cursor, limit, source


@dataclass(frozen=True, slots=True)
class Changes:
    """The leads of one answer, and how long it waited for them."""

    step: Step
    waited: float  # seconds


class ChangesFeed:
    """What one process reads for all who ask for changes. Use it from the event loop."""

    def __init__(self, reader: DatabaseReader, stopping: asyncio.Event) -> None:
        """Take what is set when the process begins to stop: then nobody waits any more."""
        self._reader = reader
        self._watch = ChangesWatch(reader, stopping)
        self._reads: dict[_Place, asyncio.Task[Step]] = {}

    async def read(self, query: ChangesQuery, is_gone: Callable[[], bool]) -> Changes:
        """Return the leads behind the query's cursor; while there are none, wait for as long as it asks.

        LATEST never waits: a reader must have its cursor before there is a lead to lose. `is_gone` tells whether the
        client is. Raises BadCursor, and the 503.
        """
        if query.after == LATEST:
            cursor = await self._reader.in_snapshot(changes.latest)
            return Changes(Step([], cursor, is_last=True), 0.0)
        cursor = ChangesCursor.decode(query.after) if query.after else ChangesCursor()
        loop = asyncio.get_running_loop()
        deadline, waited = loop.time() + query.wait, 0.0
        while True:
            step = await self._step(cursor, query)
            cursor = step.cursor
            if step.leads or loop.time() >= deadline or self._watch.is_stopping or is_gone():
                return Changes(step, waited)
            if step.is_last:
                begun = loop.time()
                await self._watch.wait(cursor, deadline, is_gone)
                waited += loop.time() - begun
                if loop.time() >= deadline or self._watch.is_stopping:
                    return Changes(step, waited)

    async def _step(self, cursor: ChangesCursor, query: ChangesQuery) -> Step:
        """Read a step, or wait for the read of another reader at the same place that runs already."""
        place = (cursor.encode(), query.limit, query.source)
        read = self._reads.get(place)
        if read is None:
            ask = self._reader.in_snapshot(changes.step, cursor, query.limit, query.source)
            read = self._reads[place] = asyncio.ensure_future(ask)
            read.add_done_callback(lambda done: self._read(place, done))
        # One that gives up leaves the others their answer.
        return await asyncio.shield(read)

    def _read(self, place: _Place, done: asyncio.Task[Step]) -> None:
        del self._reads[place]
        if not done.cancelled():
            done.exception()  # asyncio would report it when all who waited for it have gone
