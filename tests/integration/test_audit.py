"""The audit trail on real servers: each event once, whatever is killed or away, and never in a reader's way."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from click.testing import CliRunner
from falcon import testing
from sqlalchemy.exc import SQLAlchemyError

import ingest_api.audit as api_audit
from ingest_api import app
from ingest_api.cli import main as ingest_api_command
from schema.audit import trail, waiting
from schema.audit.event import Action, Event, new_event, user_id
from schema.queue.keys import AUDIT, EVENT_FIELD
from schema.queue.stats import read_queue
from schema.runtime.redis_clients import blocking_redis
from schema.settings import Settings
from tests.integration.backends import Backend, writer
from tests.integration.tokens import token_for
from tests.integration.workers import Worker
from tests.kit.servers import until
from workers.cli import main as workers_command
from workers.upkeep.audit_events import AuditEvents
from workers.upkeep.maintenance import Maintenance

ADA = "ada@example.com"
ROLES = ["admin", "export", "ingest", "read"]

_processes = multiprocessing.get_context("forkserver")


def stored(backend: Backend) -> list[Event]:
    with backend.engine.begin() as connection:
        return trail.find(connection, number=1_000_000)


def actions(backend: Backend) -> list[str]:
    return [each.action for each in stored(backend)]


def events(number: int, **fields: Any) -> list[Event]:
    return [new_event(Action.LIST, user="u", client="192.0.2.7", row_count=each, **fields) for each in range(number)]


def wait_in_redis(backend: Backend, *found: Event) -> None:
    assert waiting.append(backend.client, found) == 0


def in_redis(backend: Backend) -> list[Event]:
    return [Event.decode(text) for _, text in waiting.read(backend.client, 1_000_000)]


def move(backend: Backend) -> int:
    return AuditEvents(backend.client, backend.engine).move()


# From Redis to the table


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
    AuditEvents(blocking_redis(settings, timeout=10), writer(settings)).move()


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
        until(lambda: _moved_quietly(AuditEvents(backend.client, engine)) and not backend.client.xlen(AUDIT))
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

    assert waiting.append(backend.client, some[:4]) == 0
    assert waiting.append(backend.client, some[4:]) == 3
    assert waiting.append(backend.client, some[:1]) == 1

    assert in_redis(backend) == some[:5]


def test_the_age_of_what_waits_is_a_metric(backend: Backend):
    assert (read_queue(backend.client)["audit"], read_queue(backend.client)["audit_oldest"]) == (0, 0)
    backend.client.xadd(AUDIT, {EVENT_FIELD: events(1)[0].encode()}, id="1000-0")
    wait_in_redis(backend, *events(1))

    found = read_queue(backend.client)

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

    until(lambda: _moved_quietly(AuditEvents(backend.client, backend.engine)))
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


class Api:
    """One API process, within the test."""

    def __init__(self, settings: Settings, roles: list[str] = ROLES) -> None:
        self.headers = {"Authorization": f"Bearer {token_for(settings, ADA, roles)}"}
        self.app: Any = app.create(settings)

    def run(self, *paths: str, between: Callable[[], None] = lambda: None) -> list[int]:
        """GET one after another, stop the process, and return the statuses. `between` is called before it stops."""

        async def main() -> list[int]:
            async with testing.ASGIConductor(self.app) as conductor:
                found = [int((await self._get(conductor, path)).status_code) for path in paths]
                between()
                return found

        return asyncio.run(main())

    async def _get(self, conductor: Any, path: str) -> Any:
        return await conductor.simulate_get(path, headers=self.headers)


def test_an_export_and_dead_letters_are_in_redis_before_the_answer_and_a_list_soon(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
):
    backend.accept(3)
    Worker(backend).run()
    monkeypatch.setattr(api_audit, "AUDIT_FLUSH_INTERVAL", 1000.0)
    before: list[list[Event]] = []
    api = Api(backend.settings)

    # When the process would be killed right after its answer
    paths = ("/api/leads/export", "/api/dead-letters", "/api/leads")
    assert api.run(*paths, between=lambda: before.append(in_redis(backend))) == [200, 200, 200]

    # Then only what was buffered would be lost, and a process that stops hands it over
    assert [each.action for each in before[0]] == ["export", "export", "dead_letters_shown"]
    assert [each.action for each in in_redis(backend)][3:] == ["list"]
    move(backend)
    [export, letters, listed] = stored(backend)
    assert (export.row_count, letters.row_count, listed.row_count) == (3, 0, 3)
    assert {each.user for each in (export, letters, listed)} == {user_id(ADA)}


def test_an_export_that_is_killed_midway_is_known_without_its_number(backend: Backend):
    backend.accept(3)
    Worker(backend).run()
    api = Api(backend.settings)
    monkey = api_audit.AuditTrail.count
    api_audit.AuditTrail.count = lambda *_: None  # type: ignore[method-assign]
    try:
        api.run("/api/leads/export")
    finally:
        api_audit.AuditTrail.count = monkey  # type: ignore[method-assign]
    move(backend)

    assert [(each.action, each.row_count) for each in stored(backend)] == [("export", None)]


def test_a_redis_that_is_away_breaks_no_read_and_what_is_not_kept_is_counted(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(api_audit, "EVENTS_BUFFERED_MAX", 5)
    lost = api_audit.metrics.AUDIT_LOST._value.get()
    away = backend.with_settings(redis_url="redis://127.0.0.1:1", redis_timeout=0.5, rate_limit=0)

    statuses = Api(away).run("/api/leads/export", *["/api/leads"] * 8)

    assert set(statuses) == {200}
    # The export twice, begun and ended, and eight lists.
    assert api_audit.metrics.AUDIT_LOST._value.get() - lost == 5


def test_a_redis_that_is_full_breaks_no_read_and_has_the_events_once_it_is_not(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(api_audit, "AUDIT_RETRY_INTERVAL", 0.0)
    backend.client.config_set("maxmemory", 1)
    try:
        api = Api(backend.settings)
        statuses = api.run(
            "/api/leads", "/api/leads/export", between=lambda: backend.client.config_set("maxmemory", 0) and None
        )
    finally:
        backend.client.config_set("maxmemory", 0)

    assert statuses == [200, 200]
    move(backend)
    assert actions(backend) == ["list", "export"]


def test_events_that_a_full_stream_refuses_are_counted(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api_audit, "WAITING_MAX", 2)
    lost = api_audit.metrics.AUDIT_LOST._value.get()

    assert set(Api(backend.settings).run(*["/api/leads"] * 5)) == {200}

    assert len(in_redis(backend)) == 2
    assert api_audit.metrics.AUDIT_LOST._value.get() - lost == 3


def test_what_was_refused_leaves_no_event(backend: Backend):
    statuses = Api(backend.settings, ["ingest"]).run("/api/leads", "/api/leads/export", "/api/dead-letters", "/api/x")
    wrong = Api(backend.settings).run("/api/leads?limit=x", "/api/leads/export?x=1", "/api/leads/x")

    assert (statuses, wrong) == ([403, 403, 403, 404], [400, 400, 404])
    assert in_redis(backend) == []


# The command line


def run(backend: Backend, command: Any, *arguments: str, given: str = "") -> str:
    environment = {
        "LEADS_REDIS_URL": backend.settings.redis_url,
        "LEADS_DATABASE_URL": backend.settings.database_url,
        "LEADS_DATA_DIR": str(backend.settings.data_dir),
    }
    return str(CliRunner(env=environment).invoke(command, arguments, input=given, catch_exceptions=False).output)


def test_a_command_that_changes_nothing_leaves_no_event(backend: Backend):
    make = ("user", "create", ADA, "--role", "read")
    run(backend, ingest_api_command, *make, given="a good password\n")
    run(backend, ingest_api_command, *make, given="a good password\n")
    run(backend, ingest_api_command, "user", "disable", "nobody@example.com")

    assert [(each.action, each.subject, each.parameters) for each in stored(backend)] == [
        ("user_created", user_id(ADA), "read")
    ]


def test_a_letter_shown_replayed_or_dropped_is_known_with_its_name(backend: Backend):
    def a_letter() -> str:
        return str(backend.client.xadd("leads:dead", {"lead": "x", "reason": "y"}).decode())

    one, two = a_letter(), a_letter()
    run(backend, workers_command, "dead-letters", "show", one)
    run(backend, workers_command, "dead-letters", "replay", one)
    run(backend, workers_command, "dead-letters", "drop", two, "--yes")
    a_letter(), a_letter()
    run(backend, workers_command, "dead-letters", "drop", "--all", "--yes")
    move(backend)

    assert [(each.action, each.parameters, each.row_count, each.subject) for each in stored(backend)] == [
        ("dead_letters_shown", "letter", 1, one),
        ("dead_letters_replayed", "letter", 1, one),
        ("dead_letters_dropped", "letter", 1, two),
        ("dead_letters_dropped", "all", 2, ""),
    ]
    assert all(each.user.startswith("cli:") for each in stored(backend))


def test_a_command_that_redis_has_no_room_for_says_that_it_is_not_recorded_and_goes_on(backend: Backend):
    backend.client.config_set("maxmemory", 1)
    try:
        output = run(backend, ingest_api_command, "requests", "last")
    finally:
        backend.client.config_set("maxmemory", 0)

    assert "No request is in the log." in output
    assert "Not in the audit trail: request_log_shown" in output
