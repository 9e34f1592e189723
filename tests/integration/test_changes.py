"""ingest_api.reads.changes: stored leads in the order of storing, each once and none left out, whatever writers do."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, event, select, text

from ingest_api.http.envelope import ApiError
from ingest_api.reads import changes
from ingest_api.reads.changes_cursor import ChangesCursor
from schema.counts import maintain, write
from schema.counts.widths import SLOTS
from schema.database import engines, stored_positions
from schema.database.lead_row import LeadRow, insert_rows
from schema.database.tables import leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId
from schema.queue.dead_letters import DeadLetters
from tests.integration.backends import POISON, Backend, fields_of, servers_only
from tests.integration.persons import erase
from tests.integration.test_counts import START, rows_at
from tests.integration.workers import DiesAfterCommit, Worker
from tests.kit.servers import until
from workers.store import insertion
from workers.store.batch import StoringFailed

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


@contextmanager
def unfinished(backend: Backend, found: list[LeadRow], slot: int) -> Iterator[None]:
    """Leave a batch's transaction open within the block; it commits at the end."""
    with backend.engine.begin() as connection:
        insert(connection, found, slot)
        yield


def insert(connection: Connection, found: list[LeadRow], slot: int) -> None:
    insert_rows(connection, stored_positions.place(connection, found, slot, time.time_ns() // 1000))
    write.add(connection, ids_of(found), slot)


def test_leads_come_in_the_order_of_storing_whenever_they_were_created(backend: Backend):
    reader = Reader(backend)
    late = rows(3, START - 86400)

    first = store(backend, rows(3), slot=0)
    assert reader.follow() == first
    second = store(backend, late, slot=7)
    third = store(backend, rows(3, START + 10), slot=0)

    assert reader.follow() == [*first, *second, *third]
    assert reader.step()
    assert reader.follow() == [*first, *second, *third]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50, 1000])
def test_any_limit_leads_through_all(backend: Backend, limit: int):
    insert_history(backend, 5)
    expected = {row.id for row in rows(5)}
    for number in range(12):
        expected.update(store(backend, rows(1 + number % 5, START + 100 * (number + 1)), slot=number % 4))

    seen = Reader(backend, limit).follow()

    assert len(seen) == len(set(seen))
    assert set(seen) == expected


@servers_only
def test_a_transaction_that_commits_later_than_one_begun_after_it_is_not_skipped(backend: Backend):
    # Given two writers on slots of their own
    reader, early, late = Reader(backend), rows(3), rows(3, START + 100)

    # When the one that began first is still open while the other one's leads are read
    with unfinished(backend, early, slot=1):
        store(backend, late, slot=2)
        assert reader.follow() == ids_of(late)

    # Then its leads come after them
    assert reader.follow() == [*ids_of(late), *ids_of(early)]
    assert reader.follow() == [*ids_of(late), *ids_of(early)]


@servers_only
def test_two_processes_that_share_a_slot_commit_in_the_order_of_their_positions(backend: Backend):
    # Given a transaction that has its positions and waits for another lock
    reader, first, second = Reader(backend), rows(3), rows(3, START + 86400)
    writers = [threading.Thread(target=store, args=(backend, batch, 5)) for batch in (first, second)]
    with backend.engine.begin() as blocking:
        write.lock_minute(blocking, START * MICROS)
        writers[0].start()
        until(lambda: runs(backend, "INSERT INTO dirty_minutes"))

        # When another process stores in the same slot, then it waits, so that no reader passes the first one
        writers[1].start()
        until(lambda: runs(backend, "INSERT INTO stored_positions"))
        assert reader.follow() == []

    for each in writers:
        each.join(30)
    assert reader.follow() == [*ids_of(first), *ids_of(second)]


def runs(backend: Backend, statement: str) -> bool:
    """Tell whether the database is at work on such a statement."""
    found = backend.database.execute("SELECT info FROM information_schema.processlist WHERE info IS NOT NULL")
    return any(str(info).startswith(statement) for (info,) in found)


@pytest.mark.slow
def test_a_reader_beside_many_writers_sees_each_lead_once(backend: Backend):
    # Given writers that share slots and store batches of any size, some of them twice
    reader = Reader(backend, limit=37)
    batches = [rows(1 + each % 40, START + 1000 * each) for each in range(60)]

    def write_some(number: int) -> None:
        for batch in batches[number::3]:
            store(backend, batch, slot=number % 2)
            if len(batch) % 3 == 0:
                store(backend, batch, slot=2)

    writers = [threading.Thread(target=write_some, args=(number,)) for number in range(3)]
    for each in writers:
        each.start()
    until(lambda: reader.step() and not any(each.is_alive() for each in writers), 60, 0)

    seen = reader.follow()
    assert len(seen) == len(set(seen))
    assert set(seen) == {row.id for batch in batches for row in batch}


def test_of_a_batch_with_poison_rows_the_others_come_and_then_nothing_is_new(backend: Backend):
    backend.refuse(POISON)
    ids = backend.accept_all([fields_of(each, firstName=POISON if each in (3, 19) else "Ada") for each in range(20)])
    reader = Reader(backend)
    Worker(backend).run()

    assert set(reader.follow()) == {*ids} - {ids[3], ids[19]}
    with backend.engine.connect() as connection:
        assert set(connection.execute(select(leads.c.stored_slot)).scalars()) == {0}

    # Positions that were given to nobody are not new for ever.
    assert_nothing_is_ahead(backend, reader)


def test_a_replayed_dead_letter_comes_once_when_it_is_stored(backend: Backend):
    backend.refuse(POISON)
    [bad] = backend.accept_all([fields_of(firstName=POISON)])
    good = backend.accept(2)
    reader = Reader(backend)
    Worker(backend).run()
    assert set(reader.follow()) == {*good}

    backend.stop_refusing()
    letters = DeadLetters(backend.shards)
    assert [letters.replay(each) for each in letters] == [True]
    Worker(backend).run()

    assert reader.follow()[2:] == [bad]


def test_a_batch_that_is_stored_twice_comes_once(backend: Backend):
    # Given a worker that died between COMMIT and the acknowledgement
    ids = backend.accept(5)
    with pytest.raises(StoringFailed):
        Worker(backend, DiesAfterCommit).run()
    reader = Reader(backend)
    assert reader.follow() == ids

    # When another one finds the rows
    ids += backend.accept(2)
    other = Worker(backend)
    until(lambda: other.drain(backend))

    assert reader.follow() == ids
    assert_nothing_is_ahead(backend, reader)


def assert_nothing_is_ahead(backend: Backend, reader: Reader) -> None:
    with backend.engine.connect() as connection:
        assert not ChangesCursor.decode(reader.cursor).ahead(stored_positions.read(connection))


def insert_history(backend: Backend, number: int) -> list[LeadId]:
    """Insert leads as releases did that knew no positions."""
    found = rows(number)
    with backend.engine.begin() as connection:
        insert_rows(connection, found)
        write.add(connection, ids_of(found), 0)
    return ids_of(found)


def test_what_was_stored_before_there_were_positions_comes_first(backend: Backend):
    new = store(backend, rows(3, START - 1000), slot=3)
    old = insert_history(backend, 5)

    for limit in (2, 5, 100):
        assert Reader(backend, limit).follow() == [*old, *new]


def test_a_reader_can_begin_with_what_is_stored_next(backend: Backend):
    insert_history(backend, 3)
    store(backend, rows(3, START + 100), slot=1)
    reader = Reader(backend)

    reader.go_to_the_end()

    assert reader.follow() == []
    new = store(backend, rows(2, START - 100), slot=1) + store(backend, rows(2, START + 200), slot=0)
    assert reader.follow() == new


def test_the_end_of_nothing_is_the_beginning(backend: Backend):
    reader = Reader(backend)

    reader.go_to_the_end()

    assert reader.follow() == []
    assert reader.cursor == ChangesCursor().encode()
    assert reader.follow() == []


def test_after_a_restore_from_a_backup_what_is_stored_is_new_to_whoever_has_read_more(backend: Backend):
    # Given a reader that has read what came after the backup
    before = store(backend, rows(3), slot=0)
    with backend.engine.connect() as connection:
        backup = stored_positions.read(connection)
    lost = store(backend, rows(3, START + 100), slot=0)
    reader = Reader(backend)
    assert reader.follow() == [*before, *lost]

    # When the database is as it was
    with backend.engine.begin() as connection:
        connection.execute(text("DELETE FROM leads WHERE stored_position > :last"), {"last": backup[0]})
        connection.execute(text("UPDATE stored_positions SET last_position = :last"), {"last": backup[0]})
        maintain.rebuild(connection)

    # Then leads that are stored now are behind its cursor, and those that it has read do not come again
    assert reader.follow() == [*before, *lost]
    new = store(backend, rows(2, START + 200), slot=0)
    assert reader.follow() == [*before, *lost, *new]


def test_positions_go_on_when_the_clock_goes_back(backend: Backend):
    now = START * MICROS
    with backend.engine.begin() as connection:
        assert stored_positions.advance(connection, 4, 10, now) == now
        assert stored_positions.advance(connection, 4, 5, now - 3600 * MICROS) == now + 10
        assert stored_positions.advance(connection, 4, 1, now) == now + 15
        assert stored_positions.advance(connection, 4, 1, now + MICROS) == now + MICROS
        assert stored_positions.advance(connection, 9, 2, now) == now
        assert stored_positions.read(connection) == {4: now + MICROS, 9: now + 1}


def test_a_rebuild_of_the_counts_leaves_the_order_as_it_is(backend: Backend):
    ids = store(backend, rows(3), slot=0)
    reader = Reader(backend)
    reader.follow()

    with backend.engine.begin() as connection:
        maintain.rebuild(connection)

    assert reader.follow() == ids
    ids += store(backend, rows(1, START + 9), slot=0)
    assert reader.follow() == ids


def test_any_number_of_a_slot_is_one_that_there_is(backend: Backend):
    store(backend, rows(1), slot=SLOTS + 3)

    with backend.engine.connect() as connection:
        assert stored_positions.read(connection).keys() == {3}


def test_while_an_upgrade_is_not_finished_nobody_reads(backend: Backend):
    # Given sums that release 0.1 keeps
    store(backend, rows(1), slot=0)
    with backend.engine.begin() as connection:
        write.upsert(connection, {(0, 0): 1})
    reader = Reader(backend)

    for read in (reader.step, reader.go_to_the_end):
        with pytest.raises(ApiError) as caught:
            read()
        assert (caught.value.status_code, caught.value.reason) == (503, "upgrade_unfinished")


def test_a_source_reads_its_own_in_steps_of_all(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "SOURCE_STEP", 10)
    mine: list[LeadId] = []
    for number in range(6):
        store(backend, rows(9, START + 100 * number), slot=number % 2)
        if number in (0, 5):
            mine += store(backend, rows(3, START + 100 * number + 50, source="acme"), slot=number % 2)

    for limit in (1, 2, 100):
        assert Reader(backend, limit, source="acme").follow() == mine
    # Short or empty answers, with a cursor that has moved on
    reader = Reader(backend, limit=5, source="acme")
    numbers, cursors = [], [reader.cursor]
    while not reader.step():
        numbers.append(len(reader.seen))
        cursors.append(reader.cursor)
    assert numbers[:4] == [1, 3, 3, 3]
    assert len(set(cursors)) == len(cursors)
    assert {each["source"] for each in reader.leads} == {"acme"}
    assert Reader(backend, source="nobody").follow() == []


def test_erased_leads_are_no_longer_there(backend: Backend, ann: list[LeadId]):
    Worker(backend).run()
    reader = Reader(backend)
    read = list(reader.follow())
    assert set(ann) & set(read)

    erase(backend)

    assert set(Reader(backend).follow()) == backend.stored() < set(read)
    assert reader.follow() == read


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_sqlite_reads_by_the_index_of_the_order(backend: Backend):
    # Given what a step asks (the plans of MySQL and MariaDB are in test_explain.py)
    insert_history(backend, 50)
    store(backend, rows(50, START + 100), slot=2)
    asked: list[tuple[str, Any]] = []
    engine = engines.reader(backend.settings.primary_url, timeout=10, pool_size=1)
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, given, *_: asked.append((statement, given)))
    with engine.connect() as connection:
        changes.step(connection, ChangesCursor(), 100, None)
        of_leads = [each for each in asked if "stored_slot" in each[0].partition("WHERE")[2]]
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {each}", given).all() for each, given in of_leads]
    engine.dispose()

    # Then it seeks in that index, and sorts no table
    steps = [str(row.detail) for plan in plans for row in plan if "leads" in str(row.detail)]
    assert len(of_leads) == 2
    assert len(steps) == 2
    assert all(each.startswith("SEARCH leads USING COVERING INDEX leads_stored (stored_slot=?") for each in steps)
