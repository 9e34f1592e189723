"""workers.store while the database locks, refuses or is away: nothing is lost, nothing is dead-lettered."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pymysql
import pytest
from sqlalchemy import Connection, Engine, insert, make_url, text

from schema.database.tables import leads
from schema.queue import keys
from schema.queue.entries import decode
from tests.integration.backends import POISON, Backend, fields_of, servers_only
from tests.integration.test_sweep import sweeper_of
from tests.integration.workers import Worker
from tests.kit.servers import until
from workers.store.consumer import Consumer
from workers.upkeep import sweep

pytestmark = [servers_only, pytest.mark.destructive("database")]

DEADLOCK = 1213
LOCK_WAIT = 1205


@contextmanager
def other_transaction(backend: Backend) -> Iterator[Connection]:
    """Open a transaction of somebody else that is heavier than any batch, so that no deadlock chooses it."""
    with backend.engine.connect() as connection:
        rows = [{"width": 1, "bucket": number, "slot": 9, "stored": 0} for number in range(1000)]
        connection.execute(text("INSERT INTO lead_counts VALUES (:width, :bucket, :slot, :stored)"), rows)
        yield connection
        connection.rollback()


def blocked(backend: Backend) -> bool:
    """Tell whether a transaction waits for a lock."""
    [(_, number)] = backend.database.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
    return int(number) > 0


def waiting_row(backend: Backend, place: int) -> dict[str, object]:
    """Return the row that the entry at `place` in the stream will be."""
    return decode(backend.client.xrange("leads:stream")[place][1][b"lead"])._asdict()


def test_a_deadlock_is_run_again_at_once(backend: Backend):
    # Given somebody who holds what the batch wants, and wants what it holds
    ids = backend.accept(4)
    first, last = waiting_row(backend, 0), waiting_row(backend, 3)
    worker = Worker(backend)
    with other_transaction(backend) as other, ThreadPoolExecutor(1) as thread:
        other.execute(insert(leads), last)
        storing = thread.submit(worker.run)
        until(lambda: blocked(backend))

        # When the server gives up the batch's transaction, and then the other one ends
        other.execute(insert(leads), first)
        other.rollback()

        # Then the same ticket stores the batch
        assert storing.result(60) == {"stored": 4, "duplicates": 0, "dead": 0}
    assert worker.errors == [DEADLOCK]
    assert backend.stored() == set(ids)
    backend.assert_counted()


def test_a_deadlock_while_a_poison_row_is_searched_for_is_run_again_at_once(backend: Backend):
    # Given a batch whose second lead is refused
    backend.refuse(POISON)
    names = ["Ada", POISON, "Ada", "Ada"]
    ids = backend.accept_all([fields_of(number, firstName=name) for number, name in enumerate(names)])
    first, last = waiting_row(backend, 0), waiting_row(backend, 3)
    worker = Worker(backend)
    with other_transaction(backend) as other, ThreadPoolExecutor(1) as thread:
        other.execute(insert(leads), last)
        storing = thread.submit(worker.run)
        until(lambda: blocked(backend))

        # When it deadlocks in the middle of the search
        other.execute(insert(leads), first)
        other.rollback()

        # Then the same ticket stores the others
        assert storing.result(60) == {"stored": 3, "duplicates": 0, "dead": 1}
    assert DEADLOCK in worker.errors
    assert backend.stored() == {*ids} - {ids[1]}
    assert list(backend.dead()) == [ids[1]]
    backend.assert_counted()


def test_a_lock_wait_that_timed_out_is_run_again(backend: Backend):
    ids = backend.accept(2)
    first = waiting_row(backend, 0)
    worker = Worker(backend)
    with (
        backend.database.variable("innodb_lock_wait_timeout", "1"),
        other_transaction(backend) as other,
        ThreadPoolExecutor(1) as thread,
    ):
        other.execute(insert(leads), first)
        storing = thread.submit(worker.run)
        until(lambda: LOCK_WAIT in worker.errors)
        other.rollback()
        assert storing.result(60) == {"stored": 2, "duplicates": 0, "dead": 0}
    assert backend.stored() == set(ids)
    backend.assert_counted()


def test_a_lead_that_another_process_commits_meanwhile_is_present(backend: Backend):
    # Given a lead that another process has inserted and not committed yet
    ids = backend.accept(2)
    first = waiting_row(backend, 0)
    worker = Worker(backend)
    with other_transaction(backend) as other, ThreadPoolExecutor(1) as thread:
        other.execute(insert(leads), first)
        storing = thread.submit(worker.run)
        until(lambda: blocked(backend))
        other.execute(text("DELETE FROM lead_counts WHERE slot = 9"))
        other.commit()
        assert storing.result(60) == {"stored": 1, "duplicates": 1, "dead": 0}
    assert backend.stored() == set(ids)


def test_while_the_database_is_away_everything_waits_and_after_it_all_is_stored(backend: Backend):
    # Given a worker that was at work when the database was killed
    ids = backend.accept(3)
    worker = Worker(backend)
    worker.run()
    backend.database.kill()
    try:
        # When leads go on coming and tickets too
        ids += backend.accept(5)
        outcomes = [worker.run() for _ in range(3)]

        # Then nothing is read, acknowledged or dead-lettered
        assert outcomes == [{"stored": 0, "duplicates": 0, "dead": 0}] * 3
        assert (backend.waiting(), backend.pending(), backend.dead()) == (5, 0, {})
    finally:
        backend.database.start()

    # And when it is back all is stored
    until(lambda: worker.drain(backend))
    assert backend.stored() == set(ids)
    backend.assert_counted()


@contextmanager
def killed_while_inserting(backend: Backend, worker: Worker) -> Iterator[dict[str, int]]:
    """Kill the database while a worker's INSERT waits for a row of ours; yield its outcome, and start the database."""
    row = waiting_row(backend, 2)
    with backend.engine.connect() as other, ThreadPoolExecutor(1) as thread:
        other.execute(insert(leads), row)
        storing = thread.submit(worker.run)
        until(lambda: blocked(backend))
        backend.database.kill()
        try:
            yield storing.result(60)
        finally:
            backend.database.start()
            other.invalidate()


def test_a_database_killed_in_the_middle_of_an_insert_loses_nothing(backend: Backend):
    # Given a batch that stands in its INSERT when the database is killed
    ids = backend.accept(3)
    with killed_while_inserting(backend, Worker(backend)) as outcome:
        assert outcome["stored"] == 0
        assert (backend.waiting(), backend.dead()) == (3, {})

    # Then the batch is stored once it is back, whoever fetches it
    another = Worker(backend)
    until(lambda: another.drain(backend))
    assert backend.stored() == set(ids)
    backend.assert_counted()


def test_a_batch_whose_database_goes_away_is_anybodys_at_once_and_was_not_delivered(backend: Backend):
    # Given a batch that stands in its INSERT when the database is killed, and a time to claim that does not come
    ids = backend.accept(3)
    with killed_while_inserting(backend, Worker(backend, claim_after=3600.0)) as outcome:
        assert outcome == {"stored": 0, "duplicates": 0, "dead": 0}

    # Then the delivery does not count, and another worker stores the batch at its first look
    pending = backend.client.xpending_range(keys.STREAM, keys.GROUP, "-", "+", 10)
    assert [each["times_delivered"] for each in pending] == [0, 0, 0]
    assert Worker(backend, claim_after=3600.0).run()["stored"] == 3
    assert backend.stored() == set(ids)
    backend.assert_counted()


@pytest.mark.parametrize("committed", [True, False])
def test_a_connection_lost_at_commit_leaves_each_lead_once(backend: Backend, committed: bool):
    # Given a connection that is lost at COMMIT, and nobody can tell whether it was carried out
    ids = backend.accept(3)
    worker = Worker(backend)
    lose_at_commit(worker.engine, committed=committed)

    # When tickets go on coming
    until(lambda: worker.drain(backend))

    assert backend.stored() == set(ids)
    backend.assert_counted()
    assert (backend.dead(), backend.pending()) == ({}, 0)


def lose_at_commit(engine: Engine, *, committed: bool) -> None:
    """Lose the engine's connection at its first COMMIT, just before the server carries it out or just after."""
    lost: list[bool] = []
    do_commit = engine.dialect.do_commit

    def commit(connection: object) -> None:
        if not lost:
            lost.append(True)
            if committed:
                do_commit(connection)
            raise pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")
        do_commit(connection)

    engine.connect().close()  # the dialect's own first COMMIT is not meant
    engine.dialect.do_commit = commit  # type: ignore[method-assign]  # the COMMIT that is lost


def test_a_read_only_database_counts_as_away(backend: Backend):
    ids = backend.accept(3)
    worker = Worker(backend)

    with backend.database.variable("read_only", "1"):
        assert worker.run() == {"stored": 0, "duplicates": 0, "dead": 0}
        assert (backend.waiting(), backend.dead()) == (3, {})

    until(lambda: worker.drain(backend))
    assert backend.stored() == set(ids)


@pytest.mark.parametrize("trouble", ["tables", "password", "port"])
def test_a_database_that_is_not_ready_counts_as_away(backend: Backend, trouble: str):
    ids = backend.accept(2)
    url = {
        "tables": lambda: backend.database.create_database(),
        "password": lambda: make_url(backend.settings.database_url).set(password="wrong"),
        "port": lambda: make_url(backend.settings.database_url).set(port=1),
    }[trouble]()
    text_url = url if isinstance(url, str) else url.render_as_string(hide_password=False)

    assert Worker(backend, database_url=text_url).run() == {"stored": 0, "duplicates": 0, "dead": 0}

    assert (backend.waiting(), backend.dead()) == (2, {})
    other = Worker(backend)
    until(lambda: other.drain(backend))
    assert backend.stored() == set(ids)


def test_tries_against_an_absent_database_do_not_count_as_deliveries(backend: Backend):
    # Given a database that was read-only for more tries than a lead may be delivered
    [lead] = backend.accept(1)
    worker = Worker(backend, deliveries_alone=1, deliveries_max=2, claim_after=0.1)
    with backend.database.variable("read_only", "1"):
        for _ in range(4):
            # A worker that has just started does not know yet that it should wait.
            assert Worker(backend, deliveries_alone=1, deliveries_max=2, claim_after=0.1).run()["dead"] == 0

    # When it is back
    until(lambda: worker.drain(backend))

    # Then the lead is a row and no dead letter
    assert backend.stored() == {lead}
    assert backend.dead() == {}


def test_what_is_given_back_may_be_claimed_at_once_by_anybody(backend: Backend):
    backend.accept(3)
    consumer: Consumer = Worker(backend, claim_after=3600.0).consumer
    consumer.give_back(consumer.claim_and_read(10).entries)

    claimed = Worker(backend, claim_after=3600.0).consumer.claim_and_read(10)

    assert len(claimed.entries) == 3


def test_a_sweep_that_finds_the_database_away_goes_on_with_redis(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    # Given a consumer that is gone, and a database that is away
    backend.accept(1)
    Worker(backend).run()
    monkeypatch.setattr(sweep, "CONSUMER_IDLE", -1)
    backend.database.kill()
    try:
        assert sweeper_of(backend).run() == {"keys": 0, "consumers": 1, "failed": 2}
    finally:
        backend.database.start()
