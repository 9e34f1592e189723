"""`python -m schema person`: who is erased is found nowhere under the data directory, and the ledger balances."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service

EMAIL = "Wilhelmina.F@private.example"
PHONE = "+499123456789"
BORN = "1971-03-17"  # what the database refuses

WHO = ("--email", "wilhelmina.f@PRIVATE.example", "--phone", "0049 9123 / 456-789")

# What must be in no file.
TRACES = [text.encode() for text in ("wilhelmina", "private.example", "9123456789", "featherstone", "zanzibar")]


def of_person(**changes: Any) -> dict[str, Any]:
    fields = {"firstName": "Wilhelmina", "lastName": "Featherstonehaugh", "email": EMAIL, "phone": PHONE}
    return a_lead(**(fields | {"additionalData": {"trip": "Zanzibar"}} | changes))


@pytest.fixture(params=["embedded", "redis"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Service, list[Path]]]:
    """A service that keeps bodies in clear, and the directories of its files; its own queue, or a real Redis."""
    settings = {"request_log_bodies": "all", "request_log_personal": "clear", "claim_after": 2}
    if request.param == "embedded":
        with Service(tmp_path, **settings) as service:
            yield service, [service.data]
    else:
        with RedisServer() as queue, Service(tmp_path, redis_url=queue.url, **settings) as service:
            yield service, [service.data, Path(queue.client().config_get("dir")["dir"])]


@contextmanager
def nothing_is_stored(service: Service) -> Iterator[None]:
    """Pause the worker's processes at a moment when none of them holds the database."""
    worker = service.one("worker")
    processes = [worker, *worker.children(recursive=True)]

    def pause() -> bool:
        send(processes, signal.SIGSTOP)
        try:
            with sqlite3.connect(service.data / "leads.db", timeout=0, isolation_level=None) as database:
                database.execute("BEGIN IMMEDIATE")
                database.execute("ROLLBACK")
        except sqlite3.OperationalError:
            send(processes, signal.SIGCONT)
            return False
        return True

    until(pause)
    try:
        yield
    finally:
        send(processes, signal.SIGCONT)


def send(processes: list[psutil.Process], number: int) -> None:
    for each in processes:
        each.send_signal(number)


def refuse(service: Service, yes: bool) -> None:
    """Let the database refuse all who were born on that day, or no longer."""
    with sqlite3.connect(service.data / "leads.db", timeout=20) as database:
        database.execute("DROP TRIGGER IF EXISTS refusal")
        if yes:
            database.execute(
                f"CREATE TRIGGER refusal BEFORE INSERT ON leads WHEN NEW.date_of_birth = '{BORN}' "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )


def shown(service: Service) -> list[str]:
    done = service.run("schema", "person", "show", *WHO)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["place"] for line in done.stdout.splitlines()]


def erase(service: Service, *options: str) -> None:
    done = service.run("schema", "person", "erase", *WHO, "--yes", *options, timeout=120)
    assert done.returncode == 0, done.stderr


def traces(directories: list[Path]) -> set[tuple[str, bytes]]:
    """Return the files that hold anything of the person, and what."""
    files = [path for each in directories for path in each.rglob("*") if path.is_file()]
    found = set()
    for path in files:
        try:
            content = path.read_bytes().lower()
        except FileNotFoundError:
            continue  # removed meanwhile
        found |= {(str(path), trace) for trace in TRACES if trace in content}
    return found


def stored_and_total(service: Service) -> tuple[int, int, int]:
    """Return the stored leads by the statistics, by the list's total, and by walking the list."""
    answer = service.get("/api/leads/stats", params={"interval": "day"})
    numbers = answer.json()["data"]["items"]
    page = service.page(limit=1)
    return sum(each["stored"] for each in numbers), page["pagination"]["total"], len(service.walk())


def test_who_is_erased_is_nowhere_and_all_numbers_agree(own: tuple[Service, list[Path]]):
    service, directories = own
    # Given a person with a stored lead, a dead letter, requests under a key and a refused one, among others
    others = service.accept(*[a_lead() for _ in range(20)])
    stored = service.post("/api/leads", of_person(), Idempotency_Key="order-1").json()["data"]["id"]
    assert service.post("/api/leads", of_person(), Idempotency_Key="order-1").json()["data"]["id"] == stored
    refuse(service, True)
    service.accept(a_lead(), of_person(dateOfBirth=BORN))
    service.post("/api/leads", of_person(dateOfBirth="never"), X_Request_Id="refused")
    service.get("/api/leads", params={"email": EMAIL})
    service.wait_until_stored(stored, *others)
    until(lambda: service.ledger()["dead"] == 1)
    refuse(service, False)
    before = service.get("/api/leads", params={"limit": 5})
    with nothing_is_stored(service):
        # And one that waits
        (waiting,) = service.accept(of_person(phone=PHONE[1:]))

        # Then each of them is shown
        until(lambda: shown(service).count("request log") >= 5)
        places = shown(service)
        assert {each: places.count(each) for each in ("row", "queue", "dead letter")} == {
            "row": 1,
            "queue": 1,
            "dead letter": 1,
        }
        assert places.count("idempotency key") == 2
        assert {trace for _, trace in traces(directories)} == set(TRACES)

        # When the person is erased
        erase(service)

        assert shown(service) == []
        assert service.get(f"/api/leads/{waiting}").status_code == 404
    # Then no file holds anything of them, now and after the workers went on
    until(lambda: not traces(directories), 10)
    assert service.balance() == "Balanced: accepted = stored + expired + dead + dropped + erased + waiting."
    assert service.ledger() | {"stored": 21, "erased": 3, "dead": 0, "waiting": 0, "imbalance": 0} == service.ledger()
    assert stored_and_total(service) == (21, 21, 21)
    done = service.run("schema", "counts")
    assert (done.returncode, done.stdout) == (0, "The counts equal the rows.\n")
    again = service.get("/api/leads", params={"limit": 5}, headers={"If-None-Match": before.headers["ETag"]})
    assert again.status_code == 200
    assert service.get(f"/api/leads/{stored}").status_code == 404
    assert 'leads_ledger{place="erased"} 3.0' in service.get("/metrics", token=None).text
    assert traces(directories) == set()


def test_who_is_kept_out_gets_a_202_and_ends_as_erased(own: tuple[Service, list[Path]]):
    service, directories = own
    erase(service, "--keep-out")

    answers = [
        service.post("/api/leads", of_person(email=EMAIL.upper()), Idempotency_Key="order-2"),
        service.post("/api/leads", a_lead(phone=PHONE)),
        service.post("/api/leads", a_lead()),
    ]

    assert [each.status_code for each in answers] == [202, 202, 202]
    service.wait_until_nothing_waits()
    assert {each: service.ledger()[each] for each in ("stored", "erased", "imbalance")} == {
        "stored": 1,
        "erased": 2,
        "imbalance": 0,
    }
    # Who asks again learns nothing of it
    again = service.post("/api/leads", of_person(email=EMAIL.upper()), Idempotency_Key="order-2")
    assert (again.status_code, again.json()["data"]["id"]) == (202, answers[0].json()["data"]["id"])
    assert service.page()["pagination"]["total"] == 1
    # And the next erasure finds the requests that came with them
    erase(service)
    until(lambda: not traces(directories), 10)


def test_by_default_no_refused_lead_is_kept_in_clear(tmp_path: Path):
    with Service(tmp_path) as service:
        service.post("/api/leads", of_person(dateOfBirth="never"))
        service.post("/api/leads", json.dumps(of_person()).encode()[:-1], X_Request_Id="last")
        service.get("/api/leads", params={"email": EMAIL, "phone": PHONE, "page": "x"})

        def log() -> str:
            return service.run("ingest_api", "requests", "last").stdout

        until(lambda: log().count("POST   /api/leads") == 2 and "page=x" in log())
        shown = service.run("ingest_api", "requests", "show", "last").stdout
        assert '"firstName": "W…10"' in shown
        assert traces([service.data]) == set()
