"""kill -9 in the middle of it: what was answered with 202 is stored once, and what was killed comes back."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest

from tests.kit import load
from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import Service

LEADS = 1_500

# Processes that the API and the worker have below them, each.
CHILDREN = 2

# Seconds in which a killed process is started again, and those it then has to answer.
BACK = 2.0
BOOT = 30.0

# All accepted leads are stored so many seconds after the last one was accepted.
STORED = 60.0

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that claims what a dead worker left soon."""
    directory = tmp_path_factory.mktemp("killed")
    with Service(
        directory, claim_after=2, sweep_interval=1, http_workers=CHILDREN, worker_concurrency=CHILDREN, batch_size=50
    ) as service:
        yield service


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def is_another(process: psutil.Process | None, victim: psutil.Process) -> bool:
    return process is not None and process.pid != victim.pid


def answers(service: Service) -> bool:
    try:
        return service.get("/health/ready", token=None).status_code == 200
    except httpx.TransportError:
        return False


def assert_replaced(parent: psutil.Process, victim: psutil.Process) -> None:
    until(lambda: len([each for each in parent.children() if each.pid != victim.pid]) == CHILDREN, BOOT)


def assert_stored_once(service: Service, ledger: load.Ledger, phone: str) -> None:
    assert ledger.strange == []
    assert len(set(ledger.ids)) == len(ledger.ids) >= ledger.wanted
    promised = set(ledger.ids)
    found: list[str] = []

    def all_there() -> bool:
        found[:] = [each["id"] for each in service.walk(phone=phone)]
        return promised <= set(found)

    until(all_there, STORED, 0.2)
    assert len(found) == len(set(found))
    # A lead whose answer was lost on the way may be there too, a lead that nobody sent may not.
    assert len(found) <= len(ledger.ids) + ledger.broken + ledger.refused


@pytest.mark.parametrize("name", ["worker", "api", "queue", "beat", "flower"])
def test_a_killed_process_comes_back_and_no_accepted_lead_is_lost(own: Service, name: str):
    phone = f"+4420{next(_numbers)}"
    victim = own.one(name)

    ledger = load.send(own, LEADS, halfway=lambda: kill(victim), phone=phone)

    until(lambda: is_another(own.find(name), victim), BOOT)
    # The new process has to open its port first.
    until(lambda: answers(own), BOOT)
    assert_stored_once(own, ledger, phone)


@pytest.mark.parametrize("name", ["worker", "api"])
def test_a_killed_child_comes_back_and_no_accepted_lead_is_lost(own: Service, name: str):
    phone = f"+4430{next(_numbers)}"
    parent = own.one(name)
    until(lambda: len(parent.children()) == CHILDREN, BOOT)
    victim = parent.children()[0]

    ledger = load.send(own, LEADS, halfway=lambda: kill(victim), phone=phone)

    assert_replaced(parent, victim)
    assert own.one(name).pid == parent.pid
    assert_stored_once(own, ledger, phone)


def test_a_pool_process_comes_back_however_often_it_is_killed(own: Service):
    worker = own.one("worker")
    until(lambda: len(worker.children()) == CHILDREN, BOOT)

    for _ in range(3):
        victim = worker.children()[0]
        kill(victim)
        assert_replaced(worker, victim)

    assert own.one("worker").pid == worker.pid


@pytest.mark.parametrize("whole", [True, False], ids=["the worker", "a pool process"])
def test_the_same_holds_on_redis_and_a_database_server(production: Service, whole: bool):
    phone = f"+4440{next(_numbers)}"
    worker = production.one("worker")
    until(lambda: worker.children(), BOOT)
    victim = worker if whole else worker.children()[0]

    ledger = load.send(production, LEADS, halfway=lambda: kill(victim), phone=phone)

    assert (ledger.refused, ledger.broken) == (0, 0)
    assert_stored_once(production, ledger, phone)


@pytest.mark.parametrize("name", ["worker", "api", "queue", "beat", "flower"])
def test_a_killed_process_is_started_again_within_two_seconds(
    own: Service, name: str, record_property: Callable[[str, object], None]
):
    took = []
    # Up to three times, since the machine may be busy at one.
    for _ in range(3):
        victim = own.one(name)
        killed = time.monotonic()
        kill(victim)
        until(lambda victim=victim: is_another(own.find(name), victim), BOOT)
        took.append(time.monotonic() - killed)
        if took[-1] < BACK:
            break
    until(lambda: answers(own), BOOT)

    record_property("seconds", took)
    assert min(took) < BACK


def test_after_all_that_a_lead_is_stored_as_ever(own: Service):
    until(lambda: answers(own), BOOT)

    own.wait_until_stored(*own.accept(a_lead()), within=30)


def test_an_idempotency_key_survives_the_death_of_the_queue(own: Service):
    until(lambda: answers(own), BOOT)
    lead = a_lead()
    first = own.post("/api/leads", lead, Idempotency_Key="survivor")
    assert first.status_code == 202

    kill(own.one("queue"))

    def again() -> dict | None:
        answer = own.post("/api/leads", lead, Idempotency_Key="survivor")
        return answer.json()["data"] if answer.status_code == 202 else None

    assert until(again, BOOT)["id"] == first.json()["data"]["id"]
    own.wait_until_stored(first.json()["data"]["id"], within=30)
    assert own.page(email=lead["email"])["pagination"]["total"] == 1
