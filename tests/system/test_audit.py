"""Who did what: each action is done from outside, and then found in `python -m schema audit`."""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import Service

PASSWORD = "a password of my own"


def id_of(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:12]


def trail(service: Service, *arguments: str) -> list[dict[str, Any]]:
    """Return what `python -m schema audit --json` prints."""
    done = service.run("schema", "audit", "--json", "--limit", "100000", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def found(service: Service, number: int, *arguments: str) -> list[dict[str, Any]]:
    """Wait until so many events are in the trail; return them."""
    return until(lambda: len(events := trail(service, *arguments)) >= number and events, 30, 0.2)


def brief(event: dict[str, Any]) -> tuple[Any, ...]:
    return event["action"], event["parameters"], event["rows"], event["subject"]


class Person:
    """A user of a test's own, with all roles that there are."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.address = f"{uuid.uuid4().hex}@example.com"
        self.id = id_of(self.address)
        roles = re.search(r"\[([a-z|]+)\]", service.user("create", "--help").stdout)
        assert roles is not None
        named = [each for role in roles[1].split("|") for each in ("--role", role)]
        made = service.user("create", self.address, *named, password=PASSWORD)
        assert made.returncode == 0, made.stderr
        self.token = service.token(self.address, PASSWORD)

    def get(self, path: str, **options: Any) -> httpx.Response:
        answer = self.service.get(path, token=self.token, **options)
        assert answer.status_code < 500, answer.text
        return answer

    def log_in(self, password: str) -> int:
        body = {"email": self.address, "password": password}
        return self.service.post("/api/login_check", body, token=None).status_code

    def trail(self, number: int) -> list[dict[str, Any]]:
        return found(self.service, number, "--user", self.address)


def test_what_a_user_does_over_http_is_in_the_trail(service: Service):
    # Given a lead that nobody else has
    mark = uuid.uuid4().hex
    phone = f"+1{uuid.uuid4().int % 10**12:012}"
    lead = a_lead(firstName=f"A{mark}", lastName=f"L{mark}", email=f"e{mark}@example.com", phone=phone)
    user = Person(service)
    posted = service.post("/api/leads", lead, token=user.token).json()["data"]["id"]
    service.wait_until_stored(posted)

    # When it is read in every way, and somebody tries a password
    assert user.log_in("another password") == 401
    filters = {"email": lead["email"], "createdFrom": "2020-01-01", "limit": 7}
    assert len(user.get("/api/leads", params=filters).json()["data"]["items"]) == 1
    user.get("/api/leads", params={"phone": phone})
    user.get(f"/api/leads/{posted}")
    missing = str(uuid.uuid4())
    assert user.get(f"/api/leads/{missing}").status_code == 404
    export = user.get("/api/leads/export", params={"email": lead["email"], "format": "ndjson"})
    assert mark in export.text
    user.get("/api/dead-letters", params={"limit": 3})
    service.post("/api/dead-letters/replay", {"all": True}, token=user.token)

    # Then the trail says so, in order, and the POST of the lead is not in it
    # What a replay did follows its event.
    events = until(lambda: (last := user.trail(9))[-1]["rows"] is not None and last, 30, 0.2)
    assert [brief(each) for each in events] == [
        ("login", [], None, None),
        ("login_failed", [], None, None),
        ("list", ["createdFrom", "email", "limit"], 1, None),
        ("list", ["phone"], 1, None),
        ("lead_read", [], 1, posted),
        ("lead_read", [], 0, missing),
        ("export", ["email", "format"], 1, None),
        ("dead_letters_shown", ["limit"], 0, None),
        ("dead_letters_replayed", ["all"], 0, None),
    ]
    assert {(each["user"], each["client"]) for each in events} == {(user.id, "127.0.0.1")}
    assert events[6]["request_id"] == export.headers["X-Request-Id"]
    assert [each["time"] for each in events] == sorted(each["time"] for each in events)

    # And no value of the lead, and no user's address
    whole = service.run("schema", "audit", "--limit", "100000").stdout + json.dumps(trail(service))
    for value in (mark, phone, lead["dateOfBirth"], user.address, PASSWORD, "another password"):
        assert value not in whole


def test_what_is_done_on_the_command_line_is_in_the_trail(service: Service):
    user = Person(service)
    assert service.user("passwd", user.address, password="another password of mine").returncode == 0
    assert service.user("disable", user.address).returncode == 0
    service.run("ingest_api", "requests", "last", "-n", "1")
    service.run("ingest_api", "requests", "errors")
    service.run("ingest_api", "requests", "show", "no-such-id")
    service.run("workers", "dead-letters", "replay", "--all")
    service.run("workers", "dead-letters", "drop", "--all", "--yes")
    assert service.run("schema", "counts", "--rebuild").returncode == 0

    def ours() -> list[dict[str, Any]]:
        """Return the events from this user's beginning on, of the command line alone."""
        events = [each for each in trail(service) if (each["user"] or "").startswith("cli:")]
        first = next(number for number, each in enumerate(events) if each["subject"] == user.id)
        return events[first:]

    until(lambda: len(ours()) >= 9, 30, 0.2)
    made, changed, disabled, *others = ours()
    assert [made["action"], changed["action"], disabled["action"]] == ["user_created", "user_changed", "user_disabled"]
    assert {each["subject"] for each in (made, changed, disabled)} == {user.id}
    assert changed["parameters"] == ["password"]
    assert [(each["action"], each["parameters"]) for each in others] == [
        ("request_log_shown", ["last"]),
        ("request_log_shown", ["errors"]),
        ("request_log_shown", ["show"]),
        ("dead_letters_replayed", ["all"]),
        ("dead_letters_dropped", ["all"]),
        ("counts_rebuilt", []),
    ]
    assert {each["client"] for each in ours()} == {None}


def test_what_was_typed_as_an_address_is_nowhere_unless_it_is_an_accounts(embedded: Service):
    typed = f"my secret password {uuid.uuid4().hex}"
    before = len(trail(embedded, "--action", "login_failed"))

    for email in (typed, f"{uuid.uuid4().hex}@example.com"):
        body = {"email": email, "password": "x"}
        assert embedded.post("/api/login_check", body, token=None).status_code == 401

    events = found(embedded, before + 2, "--action", "login_failed")[before:]
    assert [(each["user"], each["client"]) for each in events] == [(None, "127.0.0.1")] * 2
    assert id_of(typed) not in json.dumps(trail(embedded))
    for path in (embedded.data / "redis").rglob("*"):
        assert path.is_dir() or not path.is_file() or id_of(typed).encode() not in path.read_bytes()


def test_the_log_has_the_id_of_a_user_which_the_list_of_users_explains(embedded: Service):
    user = Person(embedded)
    request_id = user.get("/api/leads").headers["X-Request-Id"]

    def lines() -> list[dict[str, Any]]:
        logs = [path.read_text() for path in Path(embedded.data / "logs").glob("api*")]
        return [json.loads(each) for log in logs for each in log.splitlines() if f'"{request_id}"' in each]

    [line] = until(lines)
    assert line["user"] == user.id
    assert user.address not in "".join(path.read_text() for path in Path(embedded.data / "logs").glob("*"))
    [listed] = [each for each in embedded.user("list").stdout.splitlines() if each.startswith(user.address)]
    assert user.id in listed.split("\t")


def test_requests_without_a_token_and_over_the_limit_write_no_event(strict: Service):
    """With 20 requests a minute for each client."""
    user = Person(strict)
    client = "198.51.100.77"
    headers = {"X-Forwarded-For": client}

    def get(path: str, token: str | None) -> int:
        return strict.get(path, token=token, headers=headers).status_code

    statuses = [get("/api/leads", None) for _ in range(8)]
    statuses += [get("/api/leads", user.token) for _ in range(40)]
    # The next one of another address is written after them.
    last = strict.get("/api/leads", token=user.token, headers={"X-Forwarded-For": "198.51.100.78"})

    assert (statuses.count(401), statuses.count(200), statuses.count(429)) == (8, 12, 28)
    until(lambda: [each for each in trail(strict) if each["request_id"] == last.headers["X-Request-Id"]], 30, 0.2)
    assert [each["action"] for each in trail(strict) if each["client"] == client] == ["list"] * 12


@pytest.fixture(scope="module")
def brief_trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this module's own, to be killed and held up."""
    with Service(tmp_path_factory.mktemp("audit"), http_workers=1, redis_timeout=1) as service:
        yield service


def test_an_export_is_known_when_the_api_is_killed_right_after_its_answer(brief_trail: Service):
    service = brief_trail
    user = Person(service)
    assert user.get("/api/leads/export").status_code == 200

    api = service.one("api")
    for each in [*api.children(recursive=True), api]:
        each.kill()

    assert "export" in [each["action"] for each in user.trail(2)]


def test_a_key_change_is_in_the_trail_and_needs_no_database(brief_trail: Service):
    service = brief_trail
    assert service.run("ingest_api", "key", "prepare").returncode == 0
    service.settings["database_url"] = "mysql+pymysql://a:b@127.0.0.1:1/none"
    try:
        used = service.run("ingest_api", "key", "use")
    finally:
        del service.settings["database_url"]

    assert used.returncode == 0
    assert "Not in the audit trail: the database refused" in used.stderr
    [event] = trail(service, "--action", "key_changed")
    assert event["parameters"] == ["prepare"]
    assert len(event["subject"]) > 40


def test_the_command_shows_what_was_asked_for(brief_trail: Service):
    service = brief_trail
    user = Person(service)
    user.get("/api/leads")
    user.get("/api/leads", params={"limit": 1})
    user.trail(3)

    assert [each["action"] for each in trail(service, "--user", user.id, "--action", "list")] == ["list", "list"]
    assert trail(service, "--user", user.id, "--since", "1h") == trail(service, "--user", user.address)
    head, line = service.run("schema", "audit", "--user", user.id, "--limit", "1").stdout.splitlines()
    assert head.split()[:4] == ["time", "action", "user", "client"]
    assert line.split()[1:6] == ["list", user.id, "127.0.0.1", "limit", "0"]
    for wrong in (["--since", "yesterday"], ["--action", "no-such"], ["--limit", "0"]):
        done = service.run("schema", "audit", *wrong)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_readers_are_answered_while_redis_hangs_and_their_events_come_after_it(brief_trail: Service):
    service = brief_trail
    user = Person(service)
    user.trail(1)
    queue = service.one("queue")

    queue.suspend()
    try:
        statuses = [user.get(path).status_code for path in ("/api/leads", "/api/leads/export", "/api/leads?limit=1")]
    finally:
        queue.resume()

    assert statuses == [200, 200, 200]
    assert [each["action"] for each in user.trail(4)] == ["login", "list", "export", "list"]
