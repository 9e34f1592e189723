"""workers.standby: a Redis that is out of memory, with no ticket in it, is drained all the same."""

import pytest
import redis

from schema import stream
from schema.tickets import QUEUE
from tests.integration.backends import Backend
from tests.integration.workers import Worker
from workers.standby import StandBy


def stand_by(backend: Backend) -> StandBy:
    return StandBy(backend.client, Worker(backend, batch_size=10).storing)


def test_a_full_redis_without_tickets_is_drained(backend: Backend):
    # Given leads that wait in a Redis that takes nothing more, so no ticket either
    ids = backend.accept(35)
    # Reading makes the group, which takes memory: it is there since the first batch.
    Worker(backend, batch_size=1).run()
    backend.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            backend.client.rpush(QUEUE, "a ticket")

        # When a process looks by itself
        batches = stand_by(backend).run()
    finally:
        backend.client.config_set("maxmemory", 0)

    # Then each lead is stored once, and nothing waits
    assert batches == 4
    assert backend.stored() == set(ids)
    assert (backend.waiting(), backend.pending()) == (0, 0)
    assert backend.client.hlen(stream.INDEX) == 0


def test_while_a_ticket_waits_it_is_left_to_it(backend: Backend):
    backend.accept(3)
    backend.client.rpush(QUEUE, "a ticket")

    assert stand_by(backend).run() == 0
    assert backend.waiting() == 3
