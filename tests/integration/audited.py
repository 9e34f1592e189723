"""What the tests of the audit trail share: events in the table, in Redis, and on their way."""

from typing import Any

from schema.audit import trail, waiting
from schema.audit.event import Action, Event, new_event
from tests.integration.backends import Backend
from workers.upkeep.audit_events import AuditEvents


def stored(backend: Backend) -> list[Event]:
    with backend.engine.begin() as connection:
        return trail.find(connection, number=1_000_000)


def actions(backend: Backend) -> list[str]:
    return [each.action for each in stored(backend)]


def events(number: int, **fields: Any) -> list[Event]:
    return [new_event(Action.LIST, user="u", client="192.0.2.7", row_count=each, **fields) for each in range(number)]


def wait_in_redis(backend: Backend, *found: Event) -> None:
    assert waiting.append(backend.first, found) == 0


def in_redis(backend: Backend) -> list[Event]:
    return [Event.decode(text) for _, text in waiting.read(backend.first, 1_000_000)]


def move(backend: Backend) -> int:
    return AuditEvents(backend.first, backend.engine).move()


# From Redis to the table
