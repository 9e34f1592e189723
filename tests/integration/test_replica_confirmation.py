"""With LEADS_DATABASE_REPLICAS a batch leaves the queue only when the database's replica has its rows."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.pool import NullPool

from schema.database import engines
from schema.database.tables import leads
from tests.integration.backends import Backend, writer
from tests.integration.flows import Flow, assert_each_stored_once
from tests.integration.pairs import Pair
from tests.integration.test_counts import START, rows_at
from tests.integration.workers import Worker
from tests.kit.servers import until
from workers.store import insertion
from workers.store.replica_confirmation import ReplicaConfirmation

pytestmark = [
    pytest.mark.hosts,
    pytest.mark.slow,
    pytest.mark.parametrize(("backend", "pair"), [("mysql", "mysql"), ("mariadb", "mariadb")], indirect=True),
]


@pytest.fixture
def worker(backend: Backend, pair: Pair) -> Iterator[Worker]:
    """A worker of the pair that waits a second for the replica."""
    replica = engines.reader(pair.replica_url, timeout=1, pool_size=1)
    yield Worker(backend, confirmation=ReplicaConfirmation(replica, 1.0), database_url=pair.url)
    replica.dispose()


def ids_in(url: str) -> set[bytes]:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return {bytes(each) for each in connection.execute(select(leads.c.id)).scalars()}


def test_a_batch_leaves_the_queue_when_the_replica_has_it(backend: Backend, pair: Pair, worker: Worker):
    until(pair.looks, 30)
    ids = backend.accept(5)

    assert worker.run() == {"stored": 5, "duplicates": 0, "dead": 0}

    assert backend.waiting() == 0
    assert ids_in(pair.replica_url) == set(ids)


@pytest.mark.extended
def test_a_batch_waits_for_a_replica_that_is_behind_or_away(backend: Backend, pair: Pair, worker: Worker):
    # Given a replica that does not follow, and later is gone
    until(pair.looks, 30)
    pair.follower.stop_applying()
    ids = backend.accept(5)
    assert worker.run() == {"stored": 0, "duplicates": 0, "dead": 0}
    pair.follower.kill()
    assert worker.run() == {"stored": 0, "duplicates": 0, "dead": 0}
    assert (backend.waiting(), backend.dead(), ids_in(pair.url)) == (5, {}, set(ids))

    # When it is back
    pair.follower.start()

    # Then the batch leaves the queue, once
    until(lambda: worker.drain(backend), 60, every=0.2)
    assert (backend.dead(), ids_in(pair.url)) == ({}, set(ids))
    assert ids_in(pair.replica_url) == set(ids)


def test_a_batch_waits_for_its_rows_and_not_for_any(backend: Backend, pair: Pair, worker: Worker):
    # Given a replica that was promoted behind its primary, and has stored more leads than that since
    until(pair.looks, 30)
    pair.follower.stop_applying()
    promoted = writer(backend.with_settings(database_url=pair.replica_url))
    with promoted.connect() as connection:
        insertion.store(connection, rows_at([START * 1_000_000 + each for each in range(50)]), 0)
    promoted.dispose()

    # When a worker that still has the old primary stores a batch
    ids = backend.accept(5)

    # Then the batch stays in the queue
    assert worker.run() == {"stored": 0, "duplicates": 0, "dead": 0}
    assert (backend.waiting(), ids_in(pair.url)) == (5, set(ids))


@pytest.mark.extended
def test_a_replica_that_is_promoted_behind_its_primary_gets_every_lead(backend: Backend, pair: Pair, worker: Worker):
    # Given leads that the primary has and its replica not
    until(pair.looks, 30)
    pair.follower.stop_applying()
    ids = backend.accept(5)
    worker.run()
    assert ids_in(pair.url) == set(ids)

    # When the primary is lost and the replica promoted
    pair.primary.kill()
    after = Worker(backend, database_url=pair.replica_url)

    # Then all are stored there
    until(lambda: after.drain(backend), 60, every=0.2)
    assert ids_in(pair.replica_url) == set(ids)


@pytest.mark.extended
def test_a_replica_that_is_promoted_under_load_has_every_lead_once(
    backend: Backend, pair: Pair, worker: Worker, record_property: Callable[[str, object], None]
):
    # Given leads that are accepted and stored all the time, also when the replica falls behind
    until(pair.looks, 30)
    promoted = replace(backend, engine=writer(backend.with_settings(database_url=pair.replica_url)))
    with Flow(backend, worker) as flow:
        flow.wait_for_rows()
        flow.wait_for_rows()
        pair.follower.stop_applying()
        missing = until(lambda: ids_in(pair.url) - ids_in(pair.replica_url), 30)

        # When the primary is lost and the replica promoted without them, while leads go on coming
        pair.primary.kill()
        after = Worker(backend, database_url=pair.replica_url)
        flow.store_with(after)
        record_property("seconds until rows come again", flow.wait_for_rows())
    record_property("rows that the replica lacked", len(missing))

    # Then it has each lead once, and the ledger balances
    assert_each_stored_once(promoted, flow, after)
    assert missing <= promoted.stored()
    promoted.engine.dispose()
