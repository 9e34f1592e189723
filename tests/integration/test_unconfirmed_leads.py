"""With LEADS_REDIS_REPLICAS a worker stores only what replicas have.

What a primary alone has was promised to nobody. It is gone after a failover, and its client sends it again: a row of it
would be one too many.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from schema.database import engines
from schema.ledger import Ledger, read_ledger
from schema.queue.keys import ACCEPTED, STREAM
from schema.runtime.redis_clients import blocking_shards
from tests.integration.backends import Backend
from tests.integration.test_replicas import Primary, Replica
from tests.kit.servers import until
from workers.store.batch import StoringFailed
from workers.store.consumer import Consumer
from workers.store.slot_lease import SlotLease
from workers.store.storing import Storing
from workers.upkeep import counts_copy
from workers.upkeep.sweep import Sweep

pytestmark = pytest.mark.hosts


@pytest.fixture
def servers() -> Iterator[tuple[Primary, Replica]]:
    with Primary() as primary, Replica(primary.port) as replica:
        until(lambda: primary.client().info("replication")["slave0"]["state"] == "online")
        yield primary, replica


@pytest.fixture
def replicated(servers: tuple[Primary, Replica], backend: Backend) -> Backend:
    """The backend on a queue with a replica, which workers ask for."""
    primary, _ = servers
    settings = replace(backend.settings, redis_url=primary.url, redis_replicas=1)
    return replace(backend, settings=settings, queue=primary, client=primary.client())


def accept_unconfirmed(backend: Backend, number: int) -> None:
    """Append leads as a primary does whose replicas never had them: no client got a 202."""
    replace(backend, settings=replace(backend.settings, redis_replicas=0)).accept(number)


def storing_of(backend: Backend) -> Storing:
    shards = blocking_shards(backend.settings, timeout=5)
    engine = engines.writer(backend.settings.primary_url, timeout=backend.settings.database_timeout)
    consumers = [Consumer(each, backend.settings) for each in shards]
    return Storing(consumers, engine, SlotLease(shards[0], "test"), backend.settings)


def ledger(backend: Backend) -> Ledger:
    with backend.engine.connect() as connection:
        return read_ledger(connection, backend.shards)


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_a_lead_that_no_replica_has_is_not_stored(
    servers: tuple[Primary, Replica], replicated: Backend, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workers.store.consumer.CONFIRMATION_TIMEOUT", 0.2)
    # Given leads that the primary alone has
    _, replica = servers
    storing = storing_of(replicated)
    replica.hang()
    accept_unconfirmed(replicated, 5)

    # When a worker reads them
    with pytest.raises(StoringFailed, match="queue: NotConfirmed"):
        storing.run()

    # Then none is a row
    assert replicated.stored() == set()
    assert replicated.client.xlen(STREAM) == 5
    # And once the replica has them they are stored, without a wait for the claim
    replica.resume()
    until(lambda: _runs(storing) and len(replicated.stored()) == 5)
    assert ledger(replicated).imbalance == 0


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_counts_that_no_replica_has_are_not_copied(
    servers: tuple[Primary, Replica], replicated: Backend, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(counts_copy, "COUNTS_CONFIRMATION_TIMEOUT", 0.2)
    # Given counts of leads that the primary alone has
    _, replica = servers
    sweep = Sweep(blocking_shards(replicated.settings, timeout=5), replicated.engine, replicated.settings)
    replica.hang()
    accept_unconfirmed(replicated, 5)

    # When the sweep runs, then it leaves them
    assert sweep.run()["failed"] == 1

    # And the ledger does not miss them when a failover takes them back
    replicated.client.delete(ACCEPTED, STREAM)
    assert ledger(replicated).accepted == 0
    replica.resume()


def _runs(storing: Storing) -> bool:
    try:
        storing.run()
    except StoringFailed:
        return False
    return True


def test_without_replicas_nobody_is_asked(backend: Backend):
    backend.accept(3)

    assert storing_of(backend).run()["stored"] == 3
