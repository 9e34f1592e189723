"""The request log on a real Redis: bounded, apart from the leads, and never in their way."""

import asyncio
import time
from typing import Any

import pytest
from click.testing import CliRunner
from falcon import testing
from prometheus_client import REGISTRY

from ingest_api import app
from ingest_api.request_log import collector
from ingest_api.request_log.command import requests as command
from ingest_api.request_log.reader import PAGES, Requests
from ingest_api.request_log.record import Record, encode, records_in
from schema.queue.keys import REQUEST_ERRORS, REQUEST_ERRORS_HELD, REQUESTS, REQUESTS_HELD, STREAM
from schema.queue.request_pages import page_of
from schema.settings import Settings
from tests.integration.backends import Backend, fields_of
from tests.integration.tokens import token_for
from tests.kit.servers import until
from workers.upkeep.sweep import Sweep

# As many as are kept by default.
MOST = 10_000


def page(*records: Record) -> bytes:
    return page_of([encode(each) for each in records])


class Api:
    """One API process, within the test."""

    def __init__(self, settings: Settings) -> None:
        self.headers = {"Authorization": f"Bearer {token_for(settings, 'ada@example.com', ['ingest', 'read'])}"}
        self.app: Any = app.create(settings, asyncio.Event())

    def run(self, *calls: tuple[str, str, dict[str, Any]]) -> list[int]:
        """Send requests one after another, stop the process, and return the statuses."""

        async def main() -> list[int]:
            async with testing.ASGIConductor(self.app) as conductor:
                return [await self._call(conductor, *call) for call in calls]

        return asyncio.run(main())

    async def _call(self, conductor: Any, method: str, path: str, options: dict[str, Any]) -> int:
        headers = {**self.headers, **options.pop("headers", {})}
        return int((await conductor.simulate_request(method, path, headers=headers, **options)).status_code)


def lead_call(**headers: str) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/api/leads", {"json": fields_of(), "headers": headers}


def record_of(number: int, status: int = 202, request_id: str = "") -> Record:
    return Record(
        number, 5, request_id or f"r{number}", "GET", "/api/x", status, "", "::1", "", "", "", None, "", None, ""
    )


JSON = {"headers": {"Content-Type": "application/json"}}

# As an operator sets it who wants to see leads in the log.
WHOLE = {"request_log_bodies": "all", "request_log_personal": "clear"}


def test_a_request_is_kept_whole_and_an_error_apart_too(backend: Backend):
    statuses = Api(backend.with_settings(**WHOLE)).run(
        lead_call(**{"X-Request-Id": "good"}),
        ("POST", "/api/leads", {"json": {**fields_of(), "email": "x"}, "headers": {"X-Request-Id": "bad"}}),
    )

    found = Requests(backend.first, MOST).last(10)
    assert [each.status for each in found] == statuses == [202, 400]
    [error] = Requests(backend.first, MOST).last_errors(10)
    assert (error.request_id, error.reason, error.user) == ("bad", "invalid", "ada@example.com")
    assert error.body == {**fields_of(), "email": "x"}
    assert error.response["errors"].keys() == {"email"}
    assert found[0].body == fields_of()
    assert found[0].response["data"]["firstName"] == fields_of()["firstName"]
    assert "authorization: [redacted]" in found[0].headers
    assert found[0].client == "127.0.0.1"


def test_only_the_last_requests_are_kept_and_errors_are_counted_apart(backend: Backend):
    settings = backend.with_settings(request_log=5)

    Api(settings).run(*[("GET", f"/api/none/{each}", {}) for each in range(3)], *[lead_call() for _ in range(8)])

    log = Requests(backend.first, 5)
    assert [each.status for each in log.last(10)] == [202] * 5
    assert [each.path for each in log.last_errors(10)] == [f"/api/none/{each}" for each in range(3)]


def test_nothing_is_kept_when_the_log_is_off(backend: Backend):
    Api(backend.with_settings(request_log=0)).run(lead_call(), ("GET", "/api/none", {}))

    assert backend.client.exists(REQUESTS, REQUEST_ERRORS) == 0
    assert backend.waiting() == 1


@pytest.mark.parametrize(("bodies", "good", "bad"), [("errors", False, True), ("none", False, False)])
def test_the_setting_tells_whose_bodies_are_kept(backend: Backend, bodies: str, good: bool, bad: bool):
    broken = ("POST", "/api/leads", {"json": {"firstName": "Ada"}})

    Api(backend.with_settings(request_log_bodies=bodies)).run(lead_call(), broken)

    kept = Requests(backend.first, MOST).last(2)
    assert [each.body is not None for each in kept] == [good, bad]
    assert [each.response is not None for each in kept] == [good, bad]
    assert "LEADS_REQUEST_LOG_BODIES" in kept[0].body_remark


def test_by_default_nothing_personal_is_kept_and_the_shape_of_what_was_wrong_is(backend: Backend):
    wrong = {**fields_of(), "firstName": "Wilhelmina", "phone": "0049 30 123456", "x@y.example": 1}
    query = {"email": "will@example.org", "limit": 0}

    Api(backend.settings).run(
        lead_call(),
        ("POST", "/api/leads", {"json": wrong}),
        ("POST", "/api/leads", {"body": b'{"firstName": "Wilhelmina", "email": will@example.org}', **JSON}),
        ("GET", "/api/leads", {"params": query, "headers": {"Referer": "https://a.example/?email=will@example.org"}}),
        ("GET", "/api/leads/will@example.org", {}),
    )

    accepted, refused, broken, listed, sought = Requests(backend.first, MOST).last(5)
    assert (accepted.body, accepted.response) == (None, None)
    assert refused.body["firstName"] == "W…10"
    assert refused.body["phone"] == "…4 …2 …6"
    assert refused.body["email"] == "a…4@e…7.c…3"
    assert refused.body["additionalData"] == {"number": "…1"}
    assert refused.response["errors"].keys() == {"phone", "…1@…1.e…7"}
    assert "match pattern" in str(refused.response["errors"]["phone"])
    assert broken.body == '{"firstName": "W…10", "email": w…4@e…7.o…3}'
    assert listed.query == "email=w…4@e…7.o…3&limit=0"
    assert "referer: https://a.example/?email=w…4@e…7.o…3" in listed.headers
    assert sought.path == "/api/leads/w…4@e…7.o…3"
    pages = b"".join(backend.client.lrange(REQUESTS, 0, -1) + backend.client.lrange(REQUEST_ERRORS, 0, -1))
    # Digits that no time in microseconds has.
    for piece in (b"ilhelmina", b"will", b"30 123456", b"Lovelace", b"1990-"):
        assert piece not in pages


def test_requests_over_the_limit_push_nothing_out(backend: Backend):
    settings = backend.with_settings(rate_limit=3, request_log=5)

    statuses = Api(settings).run(*[("GET", f"/api/none/{each}", {}) for each in range(12)])

    assert statuses == [404] * 3 + [429] * 9
    log = Requests(backend.first, 5)
    assert [each.status for each in log.last(20)] == [each.status for each in log.last_errors(20)] == [404] * 3


def test_of_a_rush_of_leads_the_latest_are_kept_and_everything_else(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    # Given that all of them come within one interval
    monkeypatch.setattr(collector, "LOG_FLUSH_INTERVAL", 600)
    monkeypatch.setattr(collector, "ACCEPTED_MAX", 5)
    left_out = REGISTRY.get_sample_value("leads_request_log_left_out_total") or 0
    leads = [lead_call(**{"X-Request-Id": f"lead-{number}"}) for number in range(20)]

    Api(backend.with_settings(rate_limit=0)).run(("GET", "/api/none", {}), *leads, ("GET", "/api/leads", {}))

    found = Requests(backend.first, MOST).last(30)
    assert [each.request_id for each in found if each.status == 202] == [f"lead-{number}" for number in range(15, 20)]
    assert [each.status for each in found if each.status != 202] == [404, 200]
    assert REGISTRY.get_sample_value("leads_request_log_left_out_total") == left_out + 15


def test_old_requests_go_when_no_new_ones_come_too(backend: Backend):
    day = 86_400 * 1_000_000
    now = int(time.time() * 1_000_000)
    for age in (9 * day, 8 * day, 6 * day):
        for key, held in ((REQUESTS, REQUESTS_HELD), (REQUEST_ERRORS, REQUEST_ERRORS_HELD)):
            backend.client.rpush(key, page(record_of(now - age, 404), record_of(now - age, 404)))
            backend.client.incrby(held, 2)

    Sweep(backend.shards, backend.engine, backend.settings).run()

    log = Requests(backend.first, MOST)
    assert [each.time for each in log.last(10)] == [each.time for each in log.last_errors(10)] == [now - 6 * day] * 2
    assert backend.client.mget(REQUESTS_HELD, REQUEST_ERRORS_HELD) == [b"2", b"2"]


def test_a_log_that_cannot_be_written_costs_no_lead(backend: Backend):
    # Given something else where the log should be
    backend.client.set(REQUESTS, "not a list")
    lost = collector.metrics.REQUEST_LOG_LOST._value.get()

    statuses = Api(backend.settings).run(*[lead_call() for _ in range(3)])

    assert statuses == [202, 202, 202]
    assert backend.client.xlen(STREAM) == 3
    assert collector.metrics.REQUEST_LOG_LOST._value.get() >= lost + 3


def test_redis_out_of_memory_neither_breaks_the_service_nor_fills_its_memory(backend: Backend):
    backend.client.config_set("maxmemory", 1)
    try:
        statuses = Api(backend.settings).run(lead_call(), ("GET", "/api/none", {}), lead_call())
    finally:
        backend.client.config_set("maxmemory", 0)

    assert statuses == [503, 404, 503]
    assert backend.waiting() == 0


def test_requests_wait_in_bounded_memory_while_redis_is_away(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    # Given a Redis that nobody reaches
    monkeypatch.setattr(collector, "RECORDS_WAITING_MAX", 40)
    monkeypatch.setattr(collector, "NOTED_MAX", 10)
    away = backend.with_settings(redis_url="redis://127.0.0.1:1", redis_timeout=0.5, rate_limit=0)
    logs: list[collector.RequestLog] = []
    close = collector.RequestLog.close
    monkeypatch.setattr(collector.RequestLog, "close", lambda self: (logs.append(self), close(self))[1])

    statuses = Api(away).run(*[("GET", f"/api/none/{each}", {}) for each in range(100)])

    assert set(statuses) == {404}
    [log] = logs
    assert log.waiting == 40
    pages = log.take()
    assert requests_in(pages, errors=False) == 40
    assert 40 <= requests_in(pages, errors=True) <= 50


def requests_in(pages: list[Any], *, errors: bool) -> int:
    """Return how many requests are in the pages of requests or of errors."""
    return sum(len(list(records_in(each.content))) for each in pages if each.errors == errors)


@pytest.mark.slow
def test_pages_that_hold_more_than_is_kept_are_dropped(backend: Backend):
    # Given a log that keeps 20 requests, and requests that come one by one
    settings = backend.with_settings(request_log=20, request_log_bodies="none")
    for start in range(0, 60, 3):
        Api(settings).run(*[("GET", f"/api/none/{start + each}", {}) for each in range(3)])

    # Then little more than those are in memory, and those are shown
    for key, held in ((REQUESTS, REQUESTS_HELD), (REQUEST_ERRORS, REQUEST_ERRORS_HELD)):
        pages = backend.client.lrange(key, 0, -1)
        number = sum(len(list(records_in(each))) for each in pages)
        assert int(backend.client.get(held)) == number
        assert 20 <= number < 23
    log = Requests(backend.first, 20)
    assert [each.path for each in log.last(30)] == [f"/api/none/{each}" for each in range(40, 60)]


def test_a_request_is_found_by_its_id_among_many(backend: Backend):
    number = 30 * PAGES
    for start in range(0, number, 10):
        backend.client.rpush(REQUESTS, page(*map(record_of, range(start, start + 10))))
    backend.client.set(REQUESTS_HELD, number)
    backend.client.rpush(REQUEST_ERRORS, page(record_of(0, 404, "old"), record_of(1, 404, "old")))
    log = Requests(backend.first, MOST)

    assert [each.time for each in log.find("r7")] == [7]
    assert [each.time for each in log.find("old")] == [0, 1]
    assert log.find("r") == []
    assert [each.time for each in log.last(20)] == list(range(number - 20, number))
    assert log.clear() == number
    assert log.last(10) == []


def test_the_command_shows_what_a_client_sent_in_a_form_that_cannot_steer_the_terminal(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
):
    hostile = record_of(1, 404, "id")._replace(
        path="/api/\x1b[2J\x9b2J\r", headers="user-agent: \x1b]0;x\x07", body="\x1b[1m"
    )
    backend.client.rpush(REQUESTS, page(hostile))
    monkeypatch.setenv("LEADS_REDIS_URL", backend.settings.redis_url)

    for arguments in (["last"], ["show", "id"], ["show", "id", "--json"]):
        result = CliRunner().invoke(command, arguments)

        assert result.exit_code == 0, result.output
        assert not any((ord(each) < 32 and each != "\n") or 127 <= ord(each) < 160 for each in result.output)


def test_requests_of_several_processes_are_shown_in_the_order_of_time(backend: Backend):
    backend.client.rpush(REQUESTS, page(*map(record_of, (1, 4))), page(*map(record_of, (2, 3, 6))), page(record_of(5)))

    assert [each.time for each in Requests(backend.first, MOST).last(4)] == [3, 4, 5, 6]


def test_an_api_process_hands_over_its_last_requests_when_it_stops(backend: Backend):
    Api(backend.settings).run(("GET", "/api/none", {}))

    until(lambda: len(Requests(backend.first, MOST).last(10)) == 1)
