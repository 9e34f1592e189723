"""The alerts of the started stack: each is made to fire by what it warns of, and clears when that is over."""

import json
import multiprocessing
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until

from .stack import Stack, docker

pytestmark = pytest.mark.timeout(900)

# Seconds for an alert to fire: the longest waits two minutes after a minute's average.
FIRE_DEADLINE = 300.0
CLEAR_DEADLINE = 240.0

BALLAST = 64 << 20  # bytes

ASK = "import urllib.request as r; print(r.urlopen('http://prometheus:9090/api/v1/alerts', timeout=5).read().decode())"


@pytest.fixture(scope="module")
def monitored(stack: Stack) -> Stack:
    """The stack with its monitoring, and no alert but those of a busy machine."""
    said = stack.make("monitoring")
    assert "Grafana" in said
    until(lambda: not firing(stack) - {"LeadsCpuHigh"}, 120, 1)
    return stack


def firing(stack: Stack) -> set[str]:
    """Return the names of the alerts that fire."""
    # Prometheus is not published; whoever is in its network may ask.
    (flower,) = stack.containers("flower")
    try:
        alerts = json.loads(docker("exec", flower["Id"], "python", "-c", ASK))["data"]["alerts"]
    except Exception:
        return {"Prometheus does not answer yet"}
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def until_firing(stack: Stack, caused: set[str]) -> None:
    """Wait until all of these alerts fire, or fail with those that do not."""
    missing = caused

    def all_fire() -> bool:
        nonlocal missing
        missing = caused - firing(stack)
        return not missing

    with suppress(AssertionError):
        until(all_fire, FIRE_DEADLINE, 1)
    assert not missing


def redis(stack: Stack, *command: str) -> str:
    (container,) = stack.containers("redis")
    return docker("exec", container["Id"], "redis-cli", *command).strip()


@contextmanager
def running(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run work in a thread until the block ends."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def send(stack: Stack, over: threading.Event) -> None:
    """Send a lead again and again, whatever the answer."""
    headers = {"Authorization": f"Bearer {stack.token()}"}
    while not over.is_set():
        with suppress(httpx.HTTPError):
            stack.client.post("/api/leads", json=a_lead(), headers=headers)
        over.wait(0.05)


def burn() -> None:
    """Keep a processor busy."""
    while True:
        pass


def test_workers_that_are_gone_a_lost_lead_and_a_full_redis(monitored: Stack):
    workers = [each["Id"] for each in monitored.containers("worker")]
    docker("stop", *workers)
    for _ in range(20):
        monitored.accept()
    # One lead is lost.
    lost = redis(monitored, "--json", "XRANGE", "leads:stream", "-", "+", "COUNT", "1")
    ((entry, (_, payload)),) = json.loads(lost)
    redis(monitored, "XDEL", "leads:stream", entry)
    # So much that what Redis takes for its clients, now more, now less, does not count.
    redis(monitored, "SETRANGE", "ballast", str(BALLAST - 1), "x")
    used = int(redis(monitored, "INFO", "memory").split("used_memory:")[1].split()[0])
    redis(monitored, "CONFIG", "SET", "maxmemory", str(int(used * 1.15)))
    caused = {"LeadsNoWorker", "LeadsWaitTooLong", "LeadsLedgerImbalance", "LeadsRedisMemoryHigh"}

    until_firing(monitored, caused)

    redis(monitored, "CONFIG", "SET", "maxmemory", "1gb")
    redis(monitored, "DEL", "ballast")
    redis(monitored, "XADD", "leads:stream", "*", "lead", payload)
    docker("start", *workers)
    until(lambda: not caused & firing(monitored), CLEAR_DEADLINE, 1)
    assert monitored.wait_until_drained()["imbalance"] == 0


def test_a_lead_that_cannot_be_stored(monitored: Stack):
    redis(monitored, "XADD", "leads:stream", "*", "lead", "nonsense")

    until_firing(monitored, {"LeadsDeadLetters"})

    worker = monitored.containers("worker")[0]["Id"]
    docker("exec", worker, "python", "-m", "workers", "dead-letters", "drop", "--all", "--yes")
    until(lambda: not {"LeadsDeadLetters", "LeadsLedgerImbalance"} & firing(monitored), CLEAR_DEADLINE, 1)


def test_slow_and_failing_answers_and_a_busy_machine(monitored: Stack):
    (container,) = monitored.containers("redis")
    # As long as a request waits for Redis, and so some are slow and others fail.
    pause = float(monitored.settings["LEADS_REDIS_TIMEOUT"]) + 0.5

    def hang(over: threading.Event) -> None:
        while not over.is_set():
            # A container that is not running for a moment cannot be paused.
            with suppress(subprocess.CalledProcessError):
                docker("pause", container["Id"])
                time.sleep(pause)
                docker("unpause", container["Id"])
            over.wait(1)

    caused = {"LeadsResponseTimeHigh", "LeadsErrorRateHigh", "LeadsCpuHigh"}
    burners = [multiprocessing.Process(target=burn, daemon=True) for _ in range(multiprocessing.cpu_count())]
    for burner in burners:
        burner.start()
    try:
        with running(hang), running(lambda over: send(monitored, over)):
            until_firing(monitored, caused)
    finally:
        for burner in burners:
            burner.kill()

    with running(lambda over: send(monitored, over)):
        # Others may be busy on this machine.
        until(lambda: not (caused - {"LeadsCpuHigh"}) & firing(monitored), CLEAR_DEADLINE, 1)


def test_an_api_that_is_gone(monitored: Stack):
    api = [each["Id"] for each in monitored.containers("api")]
    docker("stop", *api)

    until_firing(monitored, {"LeadsNoApi"})

    docker("start", *api)
    until(lambda: "LeadsNoApi" not in firing(monitored), CLEAR_DEADLINE, 1)
