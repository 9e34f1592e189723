"""Moves the audit events that wait in Redis to their table, each once."""

import time

from sqlalchemy import Engine

from schema.audit import trail, waiting
from schema.audit.event import Event
from schema.runtime import logs
from schema.runtime.redis_clients import ShardClient

# Most events in one transaction.
EVENTS_TOGETHER = 500

# Longest time (seconds) of one run; the rest is left to the next one.
MOVE_TIME_BUDGET = 1.0

log = logs.get(__name__)


class AuditEvents:
    """A step of the sweep. Make it after the fork."""

    def __init__(self, shard: ShardClient, engine: Engine) -> None:
        self._shard = shard
        self._engine = engine

    def move(self) -> int:
        """Store the waiting events and remove them from Redis after COMMIT; return how many.

        Killed between the two, the next run finds the rows by the events' ids. Raises RedisError and SQLAlchemyError.
        """
        deadline = time.monotonic() + MOVE_TIME_BUDGET
        moved = 0
        while entries := waiting.read(self._shard, EVENTS_TOGETHER):
            with self._engine.begin() as connection:
                trail.store(connection, self._decoded(entries))
            waiting.remove(self._shard, entries)
            moved += len(entries)
            if len(entries) < EVENTS_TOGETHER or time.monotonic() > deadline:
                break
        return moved

    def _decoded(self, entries: list[waiting.Entry]) -> list[Event]:
        events = []
        for name, text in entries:
            try:
                events.append(Event.decode(text))
            except ValueError:
                # Removed with the others, or it would hold them up for ever.
                log.error("audit event not readable", entry=name.decode())
        return events
