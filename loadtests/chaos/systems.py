"""The systems under test, and ours among them, started as `make run` starts it."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import psutil

from loadtests.chaos.queues import Queue
from tests.kit.databases import DatabaseServer
from tests.kit.service import PASSWORD, Service

ADMIN = "chaos@example.com"


class Waits(Protocol):
    """What `drain` needs of a system."""

    def waiting(self) -> int:
        """Return how many accepted leads are not stored yet."""


class System(Waits, Protocol):
    """A system that a chaos run can break."""

    url: str
    token: str

    def start(self) -> None:
        """Start it; on return it accepts leads."""

    def processes(self, kind: str) -> list[psutil.Process]:
        """Return the running processes of a kind of faults.KINDS; [] when there is none."""

    def stored(self) -> list[tuple[str, str]]:
        """Return id and address of each row."""

    def dead(self) -> set[str]:
        """Return the ids of dead letters."""

    def balance(self) -> str:
        """Return the system's verdict on its ledger; it starts with "Balanced" when the ledger balances."""

    def stop(self) -> None:
        """Stop it."""


class Ours:
    """Lead Ingest on a database server and Redis."""

    def __init__(self, directory: Path, database: DatabaseServer, queue: Queue, *, duplicate_days: int = 0) -> None:
        self._database = database
        self._queue = queue
        self._database_url = database.create_database()
        self._name = self._database_url.rpartition("/")[2]
        settings = {"database_url": self._database_url, "duplicate_days": duplicate_days, **queue.settings}
        # Runs of hours outlive the usual token.
        self._service = Service(directory, token_ttl=86400, **settings)
        self.url = self._service.base_url
        self.token = ""
        self._admin = ""  # who may replay; made at the first time

    def start(self) -> None:
        """Start it; on return it accepts leads."""
        self._service.start()
        self.token = self._service.token()

    def processes(self, kind: str) -> list[psutil.Process]:
        """Return the running processes of a kind."""
        name, _, child = kind.partition(" ")
        parent = self._service.find(name)
        if parent is None:
            return []
        return children_of(parent) if child else [parent]

    def waiting(self) -> int:
        """Return how many leads are in the stream."""
        return sum(int(client.xlen(f"{prefix}stream")) for client, prefix in self._queue.streams())

    def stored(self) -> list[tuple[str, str]]:
        """Return id and address of each row."""
        rows = self._database.execute(f"SELECT LOWER(HEX(id)), email FROM {self._name}.leads")
        return [(_dashed(lead), email) for lead, email in rows]

    def duplicates(self) -> list[tuple[str, str, str | None]]:
        """Return id, telephone number, and the first lead that it is a duplicate of, of each row."""
        table = f"{self._name}.leads"
        rows = self._database.execute(f"SELECT LOWER(HEX(id)), phone, LOWER(HEX(duplicate_of)) FROM {table}")
        return [(_dashed(lead), phone, first and _dashed(first)) for lead, phone, first in rows]

    def dead(self) -> set[str]:
        """Return the ids of the leads in the dead letters."""
        letters = [each for client, prefix in self._queue.streams() for each in client.xrange(f"{prefix}dead")]
        return {_id_in(fields[b"lead"]) for _, fields in letters}

    def balance(self) -> str:
        """Return the verdict of `python -m workers ledger`."""
        return self._service.balance()

    def refuse_some(self) -> None:
        """Let the database refuse a lead of some twenty: it becomes a dead letter."""
        self.refuse_none()
        # As root: where there is a binary log, MySQL lets nobody else. An id ends in random bits.
        self._database.execute(
            f"CREATE TRIGGER {self._name}.refusal BEFORE INSERT ON {self._name}.leads FOR EACH ROW "
            "IF ORD(SUBSTR(NEW.id, 16)) < 12 THEN SIGNAL SQLSTATE '45000'; END IF"
        )

    def refuse_none(self) -> None:
        """Undo `refuse_some`."""
        self._database.execute(f"DROP TRIGGER IF EXISTS {self._name}.refusal")

    def replay(self) -> int:
        """Put all dead letters back into the queue; return how many. Raises httpx.HTTPError while a server is away."""
        if not self._admin:
            done = self._service.user("create", ADMIN, "--role", "admin", password=PASSWORD)
            if done.returncode:
                raise RuntimeError(done.stderr.strip())
            self._admin = ADMIN
        token = self._service.token(self._admin, PASSWORD)
        answer = self._service.post("/api/dead-letters/replay", {"all": True}, token=token)
        return int(answer.raise_for_status().json()["data"]["replayed"])

    def make_source(self, name: str, daily_cap: int) -> str:
        """Make a source; return its API key."""
        done = self._service.run("ingest_api", "source", "create", name, "--daily-cap", str(daily_cap), timeout=None)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.strip()

    def stored_by_source(self) -> Counter[tuple[str, str]]:
        """Return how many rows there are by source and day."""
        # The ids' time; a row of a user is not counted.
        rows = self._database.execute(
            f"SELECT source, DATE(created_at), COUNT(*) FROM {self._name}.leads WHERE source IS NOT NULL GROUP BY 1, 2"
        )
        return Counter({(source, str(day)): number for source, day, number in rows})

    def statistics(self, source: str) -> tuple[int, int]:
        """Return how many leads of a source were accepted and stored since yesterday, as the API says it."""
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
        found = self._service.get(
            "/api/leads/stats", params={"source": source, "interval": "day", "from": yesterday}
        ).json()["data"]
        return found["accepted"], found["stored"]

    def stop(self) -> None:
        """Stop it."""
        self._service.end()


def children_of(parent: psutil.Process) -> list[psutil.Process]:
    """Return the processes that a process has started; [] when it is gone."""
    try:
        return parent.children()
    except psutil.NoSuchProcess:
        return []


def _dashed(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _id_in(payload: bytes) -> str:
    return payload.partition(b'"id":"')[2][:36].decode()


def counted(found: list[tuple[str, str]]) -> tuple[set[str], int]:
    """Return the ids of the rows, and the number of duplicate rows by id or by address."""
    ids = Counter(lead for lead, _ in found)
    addresses = Counter(email for _, email in found)
    return set(ids), max(sum(ids.values()) - len(ids), sum(addresses.values()) - len(addresses))


def drain(system: Waits, longest: float) -> float:
    """Wait until nothing waits, at most `longest` seconds; return the seconds that took."""
    begun = time.monotonic()
    while time.monotonic() - begun < longest:
        try:
            if system.waiting() == 0:
                break
        except Exception as error:  # a server that has just come back
            print(f"  waiting: {type(error).__name__}")
        time.sleep(0.5)
    return time.monotonic() - begun
