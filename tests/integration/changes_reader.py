"""A reader that follows what is stored, and leads that are stored before it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import Connection

from ingest_api.reads import changes
from ingest_api.reads.changes_cursor import ChangesCursor
from schema.counts import write
from schema.database import engines
from schema.database.lead_row import LeadRow, insert_rows
from schema.lead import lead_id
from schema.lead.lead_id import LeadId
from tests.integration.backends import Backend
from tests.integration.test_counts import START, rows_at
from workers.store import insertion

MICROS = 1_000_000


class Reader:
    """A reader that follows what is stored, with a cursor that goes through its text each time."""

    def __init__(self, backend: Backend, limit: int = 100, source: str | None = None) -> None:
        self._url = backend.settings.primary_url
        self._limit = limit
        self._source = source
        self.cursor = ChangesCursor().encode()
        self.seen: list[LeadId] = []
        self.leads: list[dict[str, Any]] = []

    def step(self) -> bool:
        """Read once; tell whether that was the end."""
        with self._snapshot() as connection:
            found = changes.step(connection, ChangesCursor.decode(self.cursor), self._limit, self._source)
        assert len(found.leads) <= self._limit
        self.leads += map(orjson.loads, found.leads)
        self.seen = [lead_id.from_text(each["id"]) for each in self.leads]
        self.cursor = found.cursor.encode()
        return found.is_last

    def follow(self) -> list[LeadId]:
        """Read to the end; return all that were ever seen."""
        while not self.step():
            pass
        return self.seen

    def go_to_the_end(self) -> None:
        with self._snapshot() as connection:
            self.cursor = changes.latest(connection).encode()

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        engine = engines.reader(self._url, timeout=10, pool_size=1)
        try:
            with engine.connect() as connection, engines.snapshot(connection):
                yield connection
        finally:
            engine.dispose()


def rows(number: int, start: int = START, **changed: Any) -> list[LeadRow]:
    """Return rows of different leads, created one a second from `start` on, in seconds since 1970."""
    return [row._replace(**changed) for row in rows_at([(start + each) * MICROS + each for each in range(number)])]


def ids_of(found: list[LeadRow]) -> list[LeadId]:
    return [row.id for row in found]


def store(backend: Backend, found: list[LeadRow], slot: int) -> list[LeadId]:
    with backend.engine.connect() as connection:
        insertion.store(connection, found, slot)
    return ids_of(found)


def insert_history(backend: Backend, number: int) -> list[LeadId]:
    """Insert leads as releases did that knew no positions."""
    found = rows(number)
    with backend.engine.begin() as connection:
        insert_rows(connection, found)
        write.add(connection, ids_of(found), 0)
    return ids_of(found)
