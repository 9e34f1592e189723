"""The contenders: what the bench asks of each, and ours as `make run` starts it."""

from pathlib import Path
from typing import Any

import httpx
import psutil

from loadtests.bench import wrk
from loadtests.bench.figures import new_tag
from loadtests.bench.processes import family
from loadtests.bench.wrk import BadAnswers
from tests.kit.databases import DatabaseServer
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service

# Longest wait (seconds) until the last leads of a run are stored.
DRAIN = 300.0

# High enough never to be reached, so that every request is counted but none refused.
RATE_LIMIT = 100_000_000


class Contender:
    """A system that accepts leads at /api/leads and stores them. `not_done` names the work that it leaves out."""

    name = ""
    what = ""
    not_done = ""
    stores = True

    def __init__(self, database: DatabaseServer, queue: RedisServer) -> None:
        self.database = database
        self.queue = queue
        self.database_url = database.create_database()
        self.schema = self.database_url.rpartition("/")[2]
        self.table = f"{self.schema}.peer_leads"
        self.url = ""
        self.token = "none"

    def start(self) -> None:
        """Start it; on return it accepts leads."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop it."""
        raise NotImplementedError

    def api(self) -> list[psutil.Process]:
        """Return the processes that answer requests."""
        raise NotImplementedError

    def worker(self) -> list[psutil.Process]:
        """Return the worker's processes, the main one first; [] when the API stores the leads."""
        return []

    def waiting(self) -> int:
        """Return how many accepted leads are not stored yet."""
        return 0

    def stored(self, tag: str) -> int:
        """Return the number of leads of a run in the table.

        Raises BadAnswers when one is stored twice.
        """
        if not self.stores:
            return 0
        query = f"SELECT COUNT(*), COUNT(DISTINCT email) FROM {self.table} WHERE email LIKE '{tag}-%'"
        ((rows, different),) = self.database.execute(query)
        if rows != different:
            raise BadAnswers(f"{self.name}: {rows - different} leads are stored twice")
        return int(rows)

    def drain(self) -> None:
        """Wait until the queue is empty."""
        until(lambda: self.waiting() == 0, DRAIN, 0.05)

    def check_answer(self) -> None:
        """Send one lead and check the whole answer and the row.

        Raises BadAnswers.
        """
        tag = new_tag()
        answer = httpx.post(
            f"{self.url}/api/leads",
            content=wrk.lead(tag, 1),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            timeout=20,
        )
        self.check_reply(answer)
        if self.stores:
            until(lambda: self.stored(tag) == 1, 20, 0.05)

    def check_reply(self, answer: httpx.Response) -> None:
        """Check status and body of an answer.

        Raises BadAnswers.
        """
        if answer.status_code != 202 or not answer.json()["data"]["id"]:
            raise BadAnswers(f"{self.name}: {answer.status_code} {answer.text[:200]}")

    def processes(self) -> list[psutil.Process]:
        """Return all processes, but for database and Redis."""
        raise NotImplementedError


class Ours(Contender):
    """Lead Ingest as `make run` starts it, with all features on."""

    name = "ours"
    what = "Lead Ingest: gunicorn and Celery as `make run` starts them, with beat and Flower"

    def __init__(
        self, directory: Path, database: DatabaseServer, queue: RedisServer, *, processes: int = 2, workers: int = 2
    ) -> None:
        super().__init__(database, queue)
        self.table = f"{self.schema}.leads"
        self.service = Service(
            directory,
            redis_url=queue.url,
            database_url=self.database_url,
            rate_limit=RATE_LIMIT,
            bulk_limit=RATE_LIMIT,
            http_workers=processes,
            worker_concurrency=workers,
        )
        self.url = self.service.base_url

    def start(self) -> None:
        """Start it; on return it accepts leads."""
        self.service.start()
        self.token = self.service.token()

    def stop(self) -> None:
        """Stop it."""
        self.service.__exit__()

    def api(self) -> list[psutil.Process]:
        """Return gunicorn's workers."""
        return self.service.one("api").children()

    def worker(self) -> list[psutil.Process]:
        """Return Celery's main process and its pool."""
        return family(self.service.one("worker"))

    def waiting(self) -> int:
        """Return how many leads are in the stream."""
        return int(self.queue.client().xlen("leads:stream"))

    def processes(self) -> list[psutil.Process]:
        """Return the supervisor and all that it has started."""
        return self.service.family()

    def check_reply(self, answer: httpx.Response) -> None:
        """Check status and the fields of the lead in the answer.

        Raises BadAnswers.
        """
        super().check_reply(answer)
        data: dict[str, Any] = answer.json()["data"]
        if data.get("state") != "queued" or data.get("firstName") != "Ada" or "createdAt" not in data:
            raise BadAnswers(f"ours: a 202 with {sorted(data)}")

    def check_counts(self) -> None:
        """Check that the ledger balances and equals the rows.

        Raises BadAnswers.
        """
        balance = self.service.balance()
        if not balance.startswith("Balanced"):
            raise BadAnswers(f"ours: the ledger says {balance}")
