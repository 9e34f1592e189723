"""schema.audit, workers.upkeep: each event is stored once, whoever dies, and goes when it is old."""

import multiprocessing
import os
import signal
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy.exc import SQLAlchemyError

from schema.audit import trail, waiting
from schema.audit.event import Action, new_event
from schema.queue.keys import AUDIT, EVENT_FIELD
from schema.queue.stats import read_queue
from schema.runtime.redis_clients import blocking_home_shard
from schema.settings import Settings
from tests.integration.audited import events, in_redis, move, stored, wait_in_redis
from tests.integration.backends import Backend, writer
from tests.kit.servers import until
from workers.upkeep.audit_events import AuditEvents
from workers.upkeep.maintenance import Maintenance

_processes = multiprocessing.get_context("forkserver")


def test_events_are_moved_in_the_order_of_time_with_all_they_hold(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("workers.upkeep.audit_events.EVENTS_TOGETHER", 10)
    some = events(25, parameters=["email"], subject="s", request_id="r")
    wait_in_redis(backend, *some)

    assert move(backend) == 25

    assert stored(backend) == some
    assert in_redis(backend) == []
    assert move(backend) == 0


def _move_and_die(settings: Settings) -> None:
    """Move events, and end by SIGKILL after COMMIT, before they leave Redis."""
    waiting.remove = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    AuditEvents(blocking_home_shard(settings, timeout=10), writer(settings)).move()


def test_a_worker_killed_between_commit_and_removal_stores_each_event_once(backend: Backend):
    some = events(20)
    wait_in_redis(backend, *some)

    child = _processes.Process(target=_move_and_die, args=(backend.settings,))
    child.start()
    child.join(60)

    assert child.exitcode == -signal.SIGKILL
    assert stored(backend) == in_redis(backend) == some
    assert move(backend) == 20
    assert stored(backend) == some
    assert in_redis(backend) == []


def test_workers_that_move_at_once_store_each_event_once(backend: Backend):
    some = events(1200)
    wait_in_redis(backend, *some)

    def run() -> None:
        engine = writer(backend.settings)
        until(lambda: _moved_quietly(AuditEvents(backend.first, engine)) and not backend.client.xlen(AUDIT))
        engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert stored(backend) == some


def _moved_quietly(mover: AuditEvents) -> bool:
    """Move as a sweep does: what the database refuses, a deadlock perhaps, is left to the next one."""
    try:
        mover.move()
    except SQLAlchemyError:
        return False
    return True


@pytest.mark.parametrize("together", [True, False])
def test_the_number_of_an_export_is_added_when_it_is_over_and_never_lost(backend: Backend, together: bool):
    begun = new_event(Action.EXPORT, user="u")
    ended = replace(begun, row_count=7)
    wait_in_redis(backend, begun)
    if not together:
        move(backend)
        assert [each.row_count for each in stored(backend)] == [None]
    wait_in_redis(backend, ended)
    move(backend)
    # A worker that read the first part long ago commits last.
    with backend.engine.begin() as connection:
        trail.store(connection, [begun])

    assert stored(backend) == [ended]


def test_what_is_no_event_holds_up_no_other(backend: Backend):
    some = events(2)
    wait_in_redis(backend, some[0])
    backend.client.xadd(AUDIT, {EVENT_FIELD: "x"})
    backend.client.xadd(AUDIT, {"other": "x"})
    wait_in_redis(backend, some[1])

    assert move(backend) == 4
    assert stored(backend) == some
    assert in_redis(backend) == []


def test_no_noise_pushes_out_what_waits_already(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "WAITING_MAX", 5)
    some = events(8)

    assert waiting.append(backend.first, some[:4]) == 0
    assert waiting.append(backend.first, some[4:]) == 3
    assert waiting.append(backend.first, some[:1]) == 1

    assert in_redis(backend) == some[:5]


def test_the_age_of_what_waits_is_a_metric(backend: Backend):
    found = read_queue(backend.shards, backend.client)
    assert (found["audit"], found["audit_oldest"]) == (0, 0)

    backend.client.xadd(AUDIT, {EVENT_FIELD: events(1)[0].encode()}, id="1000-0")
    wait_in_redis(backend, *events(1))

    found = read_queue(backend.shards, backend.client)

    assert found["audit"] == 2
    assert found["audit_oldest"] > 1_000_000_000


@pytest.mark.destructive("database")
@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_events_wait_in_redis_while_the_database_is_away(backend: Backend):
    some = events(3)
    wait_in_redis(backend, *some)
    backend.database.kill()
    try:
        with pytest.raises(SQLAlchemyError):
            move(backend)
        assert in_redis(backend) == some
    finally:
        backend.database.start()

    until(lambda: _moved_quietly(AuditEvents(backend.first, backend.engine)))
    assert stored(backend) == some


# Retention


@pytest.mark.parametrize(("days", "left"), [(90, 2), (0, 5)])
def test_events_older_than_the_setting_are_removed(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, days: int, left: int
):
    monkeypatch.setattr(trail, "AUDIT_FORGET_MAX", 2)
    now = datetime.now(UTC)
    found = []
    for age in (400, 100, 91, 89, 0):
        with time_machine.travel(now - timedelta(days=age), tick=False):
            # Ids never go back within a process, as those of leads.
            monkeypatch.setattr("schema.lead.lead_id._last_micros", 0)
            found += events(1)
    wait_in_redis(backend, *found)
    move(backend)

    done = Maintenance(backend.engine, backend.with_settings(audit_days=days)).run()

    assert done["audit_events"] == 5 - left
    assert stored(backend) == found[-left:]


# The API
