"""schema.database.stored_positions: leads have their places in the order of storing, whatever writers do."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, select, text

from ingest_api.reads.changes_cursor import ChangesCursor
from schema.counts import maintain, write
from schema.counts.widths import SLOTS
from schema.database import stored_positions
from schema.database.lead_row import LeadRow, insert_rows
from schema.database.tables import leads
from schema.queue.dead_letters import DeadLetters
from tests.integration.backends import POISON, Backend, fields_of, servers_only
from tests.integration.changes_reader import MICROS, Reader, ids_of, rows, store
from tests.integration.test_counts import START
from tests.integration.workers import DiesAfterCommit, Worker
from tests.kit.servers import until
from workers.store.batch import StoringFailed


@contextmanager
def unfinished(backend: Backend, found: list[LeadRow], slot: int) -> Iterator[None]:
    """Leave a batch's transaction open within the block; it commits at the end."""
    with backend.engine.begin() as connection:
        insert(connection, found, slot)
        yield


def insert(connection: Connection, found: list[LeadRow], slot: int) -> None:
    insert_rows(connection, stored_positions.place(connection, found, slot, time.time_ns() // 1000))
    write.add(connection, ids_of(found), slot)


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
