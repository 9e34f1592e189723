"""ingest_api.audit and the command lines: what becomes an event, and what its loss costs."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from falcon import testing

import ingest_api.audit as api_audit
from ingest_api import app
from ingest_api.cli import main as ingest_api_command
from schema.audit.event import Event, user_id
from schema.settings import Settings
from tests.integration.audited import actions, in_redis, move, stored
from tests.integration.backends import Backend
from tests.integration.tokens import token_for
from tests.integration.workers import Worker
from workers.cli import main as workers_command

ADA = "ada@example.com"
ROLES = ["admin", "export", "ingest", "read"]


class Api:
    """One API process, within the test."""

    def __init__(self, settings: Settings, roles: list[str] = ROLES) -> None:
        self.headers = {"Authorization": f"Bearer {token_for(settings, ADA, roles)}"}
        self.app: Any = app.create(settings, asyncio.Event())

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


def test_an_export_that_is_killed_midway_is_known_without_its_number(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    backend.accept(3)
    Worker(backend).run()
    api = Api(backend.settings)
    monkeypatch.setattr(api_audit.AuditTrail, "count", lambda *_: None)
    api.run("/api/leads/export")
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
