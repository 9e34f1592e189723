"""Workers for the tests: what a pool process makes after its fork, and some that die at a certain moment."""

import uuid
from collections.abc import Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisAway
from sqlalchemy import Engine, event

from schema.queue.entries import Entry
from schema.runtime.redis_clients import ShardClient, blocking_redis
from tests.integration.backends import Backend, writer
from workers.store.batch_trace import TraceBatch, untraced
from workers.store.consumer import Consumer
from workers.store.replica_confirmation import ReplicaConfirmation
from workers.store.slot_lease import SlotLease
from workers.store.storing import Storing


class DiesAfterCommit(Consumer):
    """A consumer whose process ends, or loses Redis, between COMMIT and the acknowledgement."""

    def acknowledge(self, entries: list[Entry], ids: list[bytes]) -> None:
        """Acknowledge nothing."""
        raise RedisAway("gone")


class Worker:
    """One pool process: a place in the consumer group, and a database connection."""

    def __init__(
        self,
        backend: Backend,
        consumer: Callable[..., Consumer] = Consumer,
        confirmation: ReplicaConfirmation | None = None,
        trace_batch: TraceBatch = untraced,
        **changes: Any,
    ) -> None:
        settings = backend.with_settings(**changes)
        shard = ShardClient(settings.shards[0], blocking_redis(settings.shards[0], timeout=5))
        self.consumer = consumer(shard, settings)
        self.engine: Engine = writer(settings)
        self.errors: list[int] = []  # the codes of the database's errors
        self.lease = SlotLease(shard, uuid.uuid4().hex)
        self.storing = Storing([self.consumer], self.engine, self.lease, settings, confirmation, trace_batch)
        event.listen(self.engine, "handle_error", self._note)

    def run(self) -> dict[str, int]:
        """Do what one ticket does."""
        return self.storing.run()

    def drain(self, backend: Backend) -> bool:
        """Do what one ticket does, and tell whether the queue is empty then."""
        self.run()
        return backend.waiting() == 0

    def _note(self, context: Any) -> None:
        self.errors.append(context.original_exception.args[0])
