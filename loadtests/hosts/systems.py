"""The systems under test on several hosts: ours, and the stock pipeline."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import redis

from loadtests.hosts.parts import Database, Queue
from loadtests.hosts.sentinel_queue import NAME, SentinelQueue
from tests.kit.hosts import Host, Unit
from tests.kit.servers import until
from tests.kit.service import EMAIL, PASSWORD

HTTP_PORT, METRICS_PORT = 8080, 9808

# Age (seconds) of beat's last message at which it is not well.
BEAT_AGE_MAX = 15.0

TIMEOUT = 2.0  # seconds, of a question to a process


class Ours:
    """Lead Ingest: an API, a worker and a beat on each host."""

    title = "Lead Ingest"
    port = HTTP_PORT

    def __init__(self, hosts: Sequence[Host], queue: Queue, database: Database, directory: Path) -> None:
        self._hosts = hosts
        self._queue = queue
        self._database = database
        self._keys = directory / "keys"
        self.token = ""

    def install(self) -> None:
        """Make keys, give each host its units, and make tables and a user."""
        first = self._hosts[0]
        self._make_keys()
        for host in self._hosts:
            for name, command in (
                ("api", ["ingest_api", "serve"]),
                ("worker", ["workers", "worker"]),
                ("beat", ["workers", "beat"]),
            ):
                host.set_unit(name, Unit([sys.executable, "-m", *command], self._environment(host)))
        # While the processes start, which takes longer.
        self._run(first, "schema", "migrate")
        roles = [word for role in ("ingest", "read") for word in ("--role", role)]
        self._run(first, "ingest_api", "user", "create", EMAIL, *roles, given=f"{PASSWORD}\n")
        until(lambda: not any(map(self.ill, self._hosts)), 120, 0.5)
        login = {"email": EMAIL, "password": PASSWORD}
        answer = httpx.post(f"http://{first.address}:{HTTP_PORT}/api/login_check", json=login, timeout=10)
        self.token = answer.json()["token"]

    def ill(self, host: Host) -> str:
        """Return what does not run on a host; "" when all does."""
        try:
            ready = httpx.get(f"http://{host.address}:{HTTP_PORT}/health/ready", timeout=TIMEOUT)
            if ready.status_code != 200:
                return f"the API of {host.name} says {ready.text}"
            httpx.get(f"http://{host.address}:{METRICS_PORT}/metrics", timeout=TIMEOUT)
        except httpx.HTTPError as error:
            return f"API or worker of {host.name}: {type(error).__name__}"
        try:
            age = time.time() - (host.disk / "data" / "beat.alive").stat().st_mtime
        except FileNotFoundError:
            age = float("inf")
        return f"beat of {host.name} is silent for {age:.0f} s" if age > BEAT_AGE_MAX else ""

    def found(self, leads: Sequence[str]) -> str:
        """Return the statement for the ids of those of these leads that are rows."""
        ids = ",".join(f"x'{lead.replace('-', '')}'" for lead in leads)
        return f"SELECT HEX(id) FROM {self._database.name}.leads WHERE id IN ({ids})"

    def waiting(self) -> int:
        """Return how many accepted leads are not stored yet."""
        for host in self._hosts:
            answer = httpx.get(f"http://{host.address}:{HTTP_PORT}/health/ready", timeout=10)
            if answer.status_code == 200:
                return int(answer.json()["data"]["ledger"]["waiting"])
        raise TimeoutError(f"no API is ready: {answer.text}")

    def stored(self) -> list[tuple[str, str]]:
        """Return id and address of each row."""
        rows = self._database.read_all(f"SELECT LOWER(HEX(id)), email FROM {self._database.name}.leads")
        return [(dashed(str(lead)), str(email)) for lead, email in rows]

    def dead(self) -> set[str]:
        """Return the ids of dead letters."""
        listed = self._run(self._hosts[0], "workers", "dead-letters", "list")
        return {line.split("\t")[2] for line in listed.splitlines() if line.count("\t") >= 3}

    def balance(self) -> str:
        """Return the verdict of `python -m workers ledger`."""
        done = self._hosts[0].run("workers", "ledger", environment=self._environment(self._hosts[0]), timeout=120)
        last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        return f"exit status {done.returncode}: {last}" if done.returncode else last

    def _make_keys(self) -> None:
        """Make the pair that all hosts share, as a service alone makes it."""
        code = "from ingest_api.auth import keys; from schema import settings; keys.ensure(settings.load())"
        environment = {"LEADS_DATA_DIR": str(self._keys.parent)}
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=True)

    def _run(self, host: Host, *command: str, given: str = "") -> str:
        done = host.run(*command, environment=self._environment(host), given=given)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def _environment(self, host: Host) -> dict[str, str]:
        settings = {
            "data_dir": host.disk / "data",
            "database_url": self._database.url(host),
            "http_host": "0.0.0.0",
            "http_port": HTTP_PORT,
            "http_workers": 1,
            "worker_metrics_host": "0.0.0.0",
            "worker_metrics_port": METRICS_PORT,
            "jwt_private_key": self._keys / "jwt-private.pem",
            "jwt_public_key": self._keys / "jwt-public.pem",
            # On, since it is part of the way of each lead, but never reached: all load comes from one address.
            "rate_limit": 1_000_000,
        }
        return {**{f"LEADS_{name.upper()}": str(value) for name, value in settings.items()}, **self._queue.settings}


class Stock:
    """Falcon, `task.delay()` and one INSERT a task: an API and a worker on each host, the broker under Sentinel."""

    title = "stock (Falcon, task.delay(), one INSERT a task)"
    port = HTTP_PORT

    def __init__(self, hosts: Sequence[Host], queue: SentinelQueue, database: Database) -> None:
        self._hosts = hosts
        self._queue = queue
        self._database = database
        self.token = "none"

    def install(self) -> None:
        """Make the table, and give each host its units."""
        made = self._hosts[0].run("loadtests.peers.table", environment=self._environment(self._hosts[0]))
        assert made.returncode == 0, made.stderr
        stock = "loadtests.peers.stock"
        for host in self._hosts:
            for name, command in (
                (
                    "api",
                    ["gunicorn", "-b", f"0.0.0.0:{HTTP_PORT}", "-w", "2", "--no-control-socket", f"{stock}.api:app"],
                ),
                ("worker", ["celery", "-A", f"{stock}.tasks", "worker", "-E"]),
            ):
                host.set_unit(name, Unit([sys.executable, "-m", *command], self._environment(host)))
        until(lambda: not any(map(self.ill, self._hosts)), 120, 0.5)

    def ill(self, host: Host) -> str:
        """Return what does not run on a host; "" when all does."""
        try:
            answer = httpx.get(f"http://{host.address}:{HTTP_PORT}/api/leads", timeout=TIMEOUT)
        except httpx.HTTPError as error:
            return f"the API of {host.name}: {type(error).__name__}"
        return "" if answer.status_code == 405 else f"the API of {host.name} says {answer.status_code}"

    def found(self, leads: Sequence[str]) -> str:
        """Return the statement for the ids of those of these leads that are rows."""
        ids = ",".join(f"'{lead}'" for lead in leads)
        return f"SELECT lead_id FROM {self._database.name}.peer_leads WHERE lead_id IN ({ids})"

    def waiting(self) -> int:
        """Return the number of messages that wait or are not acknowledged."""
        client: redis.Redis = self._queue.client()
        return int(client.llen("celery")) + int(client.hlen("unacked"))

    def stored(self) -> list[tuple[str, str]]:
        """Return id and address of each row."""
        rows = self._database.read_all(f"SELECT lead_id, email FROM {self._database.name}.peer_leads")
        return [(str(lead), str(email)) for lead, email in rows]

    def dead(self) -> set[str]:
        """Return the empty set: the stock pipeline has no dead letters."""
        return set()

    def balance(self) -> str:
        """Say that there is none: the stock pipeline keeps no ledger."""
        return "none is kept"

    def _environment(self, host: Host) -> dict[str, str]:
        broker = ";".join(f"sentinel://{each}" for each in self._queue.sentinels.split(","))
        return {
            "PEER_REDIS_URL": broker,
            "PEER_REDIS_MASTER_NAME": NAME,
            "PEER_DATABASE_URL": self._database.url(host),
        }


def dashed(digits: str) -> str:
    """Return an id's 32 digits as it is written."""
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
