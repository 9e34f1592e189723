"""GET /api/leads/changes on the started service: what is new, as it is stored, and what waiting for it costs."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.kit.databases import DatabaseServer
from tests.kit.leads import a_lead, assert_error
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service

PATH = "/api/leads/changes"
NDJSON = {"Accept": "application/x-ndjson"}

# Requests that wait at the same time.
READERS = 60


def ask(service: Service, token: str = "", **parameters: object) -> dict[str, Any]:
    """Return the `data` of one answer."""
    answer = httpx.get(f"{service.base_url}{PATH}", params=parameters, headers=service.headers(token), timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["data"])


def end(service: Service) -> str:
    return str(ask(service, after="latest")["next_cursor"])


def follow(service: Service, after: str, **parameters: object) -> Iterator[str]:
    """Yield the ids of the leads behind a cursor, to the end."""
    while True:
        data = ask(service, after=after, **parameters)
        yield from (lead["id"] for lead in data["items"])
        if data["next_cursor"] == after:
            return
        after = data["next_cursor"]


def asked(service: Service, **parameters: object) -> "Future[tuple[dict[str, Any], float]]":
    """Ask in another thread; the result is the answer's `data`, and the moment when it came."""
    pool = ThreadPoolExecutor(1)
    service.token()
    found = pool.submit(lambda: (ask(service, **parameters), time.monotonic()))
    pool.shutdown(wait=False)
    return found


def waiting(service: Service) -> float:
    """Return how many requests wait, by the metric."""
    lines = service.get("/metrics", token=None).text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("leads_changes_waiting "))


def test_a_reader_has_each_lead_once_in_the_form_of_the_list(service: Service):
    after = end(service)
    ids = service.accept(*(a_lead() for _ in range(25)))
    service.wait_until_stored(*ids)

    for limit in (1, 7, 1000):
        found = list(follow(service, after, limit=limit))
        assert sorted(found) == sorted(ids)

    (item,) = ask(service, after=after, limit=1)["items"]
    assert item == service.lead(item["id"])


def test_all_that_was_ever_stored_comes_from_the_beginning(service: Service):
    service.wait_until_stored(*service.accept(a_lead()))

    listed = [lead["id"] for lead in service.walk()]
    for beginning in ({}, {"after": ""}):
        first = ask(service, limit=1, **beginning)
        rest = list(follow(service, first["next_cursor"], limit=1000))
        assert sorted([first["items"][0]["id"], *rest]) == sorted(listed)


def test_ndjson_has_the_cursor_in_headers(service: Service):
    after = end(service)
    service.wait_until_stored(*service.accept(a_lead(), a_lead()))

    answer = service.get(PATH, params={"after": after, "limit": 10}, headers=NDJSON)

    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    data = ask(service, after=after, limit=10)
    assert [json.loads(line) for line in answer.content.splitlines()] == data["items"]
    assert answer.headers["X-Next-Cursor"] == data["next_cursor"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
    link, _, relation = answer.headers["Link"].partition("; ")
    assert relation == 'rel="next"'
    assert parse_qs(urlsplit(link.strip("<>")).query) == {"limit": ["10"], "after": [data["next_cursor"]]}
    assert service.get(link.strip("<>"), headers=NDJSON).content == b""


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/x-ndjson, application/json;q=0.5", "application/x-ndjson"),
        ("text/html", None),
    ],
)
def test_the_form_is_what_the_client_prefers(embedded: Service, accept: str, kind: str | None):
    answer = embedded.get(PATH, params={"limit": 1}, headers={"Accept": accept})

    if kind is None:
        assert_error(answer, 406)
    else:
        assert answer.headers["Content-Type"].startswith(kind)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"after": "nonsense"}, "after"),
        ({"after": "AQGa1GDPAHgAgAAAAAAAAAAAAAZEzau0yAAFAAZEzau0yAeVwOE2"}, "after"),
        ({"after": "x" * 5000}, "after"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"wait": "31"}, "wait"),
        ({"wait": "-1"}, "wait"),
        ({"wait": "1.5"}, "wait"),
        ({"source": "No Name!"}, "source"),
        ({"page": "1"}, "page"),
        ({"after": ["latest", "latest"]}, "after"),
    ],
)
def test_a_wrong_parameter_is_named(embedded: Service, parameters: dict[str, Any], named: str):
    answer = embedded.get(PATH, params=parameters)

    assert_error(answer, 400)
    assert list(answer.json()["errors"]) == [named]


def test_who_may_not_read_lists_may_not_follow_them(embedded: Service):
    assert_error(embedded.get(PATH, token=None), 401)
    email = f"sender{time.time_ns()}@example.com"
    embedded.user("create", email, "--role", "ingest", password="a long password")
    assert_error(embedded.get(PATH, token=embedded.token(email, "a long password")), 403)


def test_a_source_follows_its_own_leads_alone(service: Service):
    name = f"partner{time.time_ns()}"
    key = service.run("ingest_api", "source", "create", name, "--role", "ingest", "--role", "read").stdout.strip()
    until(lambda: service.statuses("GET", PATH, key) == {200}, 15, 0.1)
    after = end(service)
    mine = service.post("/api/leads", a_lead(), token=key).json()["data"]["id"]
    other = service.accept(a_lead())[0]
    service.wait_until_stored(mine, other)

    assert [lead["id"] for lead in ask(service, key, after=after)["items"]] == [mine]
    assert [lead["id"] for lead in ask(service, after=after, source=name)["items"]] == [mine]
    assert sorted(follow(service, after)) == sorted([mine, other])
    assert_error(service.get(PATH, token=key, params={"source": "somebody-else"}), 400)

    # Others' leads do not end its wait; its own does.
    found = asked(service, after=end(service), source=name, wait=20)
    until(lambda: waiting(service) > 0, 10, 0.05)
    service.wait_until_stored(*service.accept(a_lead()))
    time.sleep(1)
    assert not found.done()
    mine = service.post("/api/leads", a_lead(), token=key).json()["data"]["id"]
    assert [lead["id"] for lead in found.result(30)[0]["items"]] == [mine]


def test_who_waits_is_answered_soon_after_the_next_lead_is_stored(service: Service, record_property: Any):
    found = asked(service, after=end(service), wait=30)
    until(lambda: waiting(service) > 0, 10, 0.05)

    (new,) = service.accept(a_lead())
    service.wait_until_stored(new)
    stored = time.monotonic()

    data, came = found.result(40)
    assert [lead["id"] for lead in data["items"]] == [new]
    record_property("seconds after it was stored", round(came - stored, 2))
    assert came - stored < 10
    until(lambda: waiting(service) == 0, 10, 0.05)


def test_a_wait_ends_empty_with_the_same_cursor(embedded: Service):
    after, begun = end(embedded), time.monotonic()

    data = ask(embedded, after=after, wait=2)

    assert data == {"items": [], "next_cursor": after}
    assert 1.9 < time.monotonic() - begun < 12


def test_a_client_that_goes_away_frees_its_place(embedded: Service):
    until(lambda: waiting(embedded) == 0, 40, 0.1)
    with pytest.raises(httpx.ReadTimeout):
        embedded.get(PATH, params={"after": end(embedded), "wait": 30}, timeout=1)

    until(lambda: waiting(embedded) == 0, 10, 0.1)


def test_waiting_is_no_slow_answer(embedded: Service):
    ask(embedded, after=end(embedded), wait=2)

    def slow() -> bool:
        name = 'leads_http_request_duration_seconds_bucket{le="1.0",method="GET",route="/api/leads/changes"}'
        total = name.replace("_bucket", "_count").replace('le="1.0",', "")
        found = dict(line.rsplit(" ", 1) for line in embedded.get("/metrics", token=None).text.splitlines())
        return float(found[total]) - float(found[name]) > 0

    time.sleep(0.5)
    assert not slow()


@pytest.mark.slow
@pytest.mark.destructive
def test_many_who_wait_cost_the_database_one_query(tmp_path: Path, mysql_server: DatabaseServer):
    # Given many readers at the same place of one process
    url = mysql_server.create_database(tls=False)
    with RedisServer() as queue, Service(tmp_path, redis_url=queue.url, database_url=url, http_workers=1) as service:
        service.wait_until_stored(*service.accept(a_lead()))
        after = end(service)
        readers = [asked(service, after=after, wait=25) for _ in range(READERS)]
        until(lambda: waiting(service) == READERS, 20, 0.1)

        # When time goes by, and then a lead is stored
        with mysql_server.statements() as idle:
            begun = time.monotonic()
            time.sleep(3)
            seconds = time.monotonic() - begun
        with mysql_server.statements() as busy:
            service.wait_until_stored(*service.accept(a_lead()))
            found = [each.result(40)[0] for each in readers]

    # Then all have it, for a query each half second, and one read
    assert len({json.dumps(each) for each in found}) == 1
    assert len(found[0]["items"]) == 1
    polls = [each for each in idle if "FROM stored_positions" in each]
    assert 2 <= len(polls) <= seconds / 0.5 + 2
    reads = [each for each in busy if "stored_slot = " in each]
    assert len(reads) == 1


@pytest.mark.slow
@pytest.mark.destructive
@pytest.mark.parametrize("drain", [0, 4])
def test_a_process_that_stops_answers_those_who_wait(tmp_path: Path, drain: int):
    with Service(tmp_path, http_workers=1, http_drain=drain) as service:
        after = end(service)
        readers = [asked(service, after=after, wait=30) for _ in range(5)]
        until(lambda: waiting(service) == 5, 20, 0.05)

        stopped = time.monotonic()
        service.one("api").terminate()

        for each in readers:
            data, came = each.result(40)
            assert data == {"items": [], "next_cursor": after}
            assert came - stopped < 10


@pytest.mark.slow
@pytest.mark.destructive
def test_a_cursor_outlives_a_restart_with_other_keys_and_another_queue(tmp_path: Path):
    with Service(tmp_path) as service:
        service.wait_until_stored(*service.accept(a_lead(), a_lead(), a_lead()))
        first = ask(service, limit=2)
        expected = list(follow(service, first["next_cursor"]))
        assert service.stop() == 0

    # Everything that the embedded run keeps, but the database
    shutil.rmtree(service.data / "keys")
    shutil.rmtree(service.data / "redis")
    with Service(tmp_path) as again:
        assert list(follow(again, first["next_cursor"])) == expected
        (new,) = again.accept(a_lead())
        again.wait_until_stored(new)
        assert list(follow(again, first["next_cursor"])) == [*expected, new]


def test_readers_beside_writers_have_each_lead_once(service: Service):
    # Given readers with limits of their own that wait for whatever comes
    after, over = end(service), threading.Event()

    def read(limit: int) -> list[str]:
        found, cursor = [], after
        while True:
            was_over = over.is_set()
            data = ask(service, after=cursor, limit=limit, wait=1)
            found += [lead["id"] for lead in data["items"]]
            cursor = data["next_cursor"]
            if was_over and not data["items"]:
                return found

    service.token()
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read, limit) for limit in (3, 10, 1000)]
        ids = [each for number in range(12) for each in service.accept(*(a_lead() for _ in range(1 + 7 * number)))]
        service.wait_until_stored(*ids)
        over.set()

        for each in readers:
            assert sorted(each.result(60)) == sorted(ids)
