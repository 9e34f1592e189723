"""The peers under test: the stock pipeline, and Bento. Their processes are restarted when they die, as ours are."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil

from loadtests.chaos.queues import Queue
from loadtests.chaos.systems import children_of
from loadtests.peers import bento
from loadtests.peers.ending import end_all
from tests.kit.databases import DatabaseServer
from tests.kit.ports import free_port
from tests.kit.servers import RedisServer, until
from tests.kit.service import ROOT


class Peer:
    """A system of processes that are started again."""

    title = ""

    def __init__(self, directory: Path, database: DatabaseServer, queue: Queue) -> None:
        self._database = database
        self._queue: RedisServer = queue.server
        self._log = directory / "peer.log"
        directory.mkdir(parents=True, exist_ok=True)
        self._database_url = database.create_database()
        self._name = self._database_url.rpartition("/")[2]
        self._address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self._address}"
        self.token = "none"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._is_ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._environment = {
            **os.environ,
            "PEER_REDIS_URL": self._queue.url,
            "PEER_DATABASE_URL": self._database_url,
            **bento.environment(address=self._address, redis_url=self._queue.url, database_url=self._database_url),
        }

    def commands(self) -> dict[str, list[str]]:
        """Return the command lines by name: "api" and "worker"."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Return how many accepted leads are not stored yet."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it; on return it accepts leads."""
        make = [sys.executable, "-m", "loadtests.peers.table"]
        subprocess.run(make, cwd=ROOT, env=self._environment, check=True)
        self._keeper.start()
        until(self._answers, 30)

    def processes(self, kind: str) -> list[psutil.Process]:
        """Return the running processes of a kind."""
        name, _, child = kind.partition(" ")
        process = self._running.get(name)
        if process is None or process.poll() is not None:
            return []
        parent = psutil.Process(process.pid)
        return children_of(parent) if child else [parent]

    def stored(self) -> list[tuple[str, str]]:
        """Return id and address of each row."""
        rows = self._database.execute(f"SELECT lead_id, email FROM {self._name}.peer_leads")
        return [(lead, email) for lead, email in rows]

    def dead(self) -> set[str]:
        """Return the empty set: there are no dead letters."""
        return set()

    def balance(self) -> str:
        """Say that there is no ledger."""
        return "none is kept"

    def stop(self) -> None:
        """Stop it."""
        self._is_ending.set()
        self._keeper.join()
        end_all(self._running.values())

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/leads", timeout=1).status_code == 405
        except httpx.HTTPError:
            return False

    def _keep(self) -> None:
        while not self._is_ending.wait(0.2):
            for name, command in self.commands().items():
                process = self._running.get(name)
                if process is None or process.poll() is not None:
                    with self._log.open("ab") as log:
                        self._running[name] = subprocess.Popen(
                            command, cwd=ROOT, env=self._environment, stdout=log, stderr=log, start_new_session=True
                        )


class Stock(Peer):
    """The stock pipeline."""

    title = "stock (Falcon, task.delay(), one INSERT a task)"

    def commands(self) -> dict[str, list[str]]:
        """Return the commands."""
        stock, python = "loadtests.peers.stock", [sys.executable, "-m"]
        return {
            "api": [*python, "gunicorn", "-b", self._address, "-w", "2", "--no-control-socket", f"{stock}.api:app"],
            "worker": [*python, "celery", "-A", f"{stock}.tasks", "worker", "-E"],
        }

    def waiting(self) -> int:
        """Return the number of messages that wait or are not acknowledged."""
        client = self._queue.client()
        return int(client.llen("celery")) + int(client.hlen("unacked"))


class Bento(Peer):
    """Bento in one process. Its answers have no id: what was sent is known by its address."""

    title = "Bento (HTTP, INSERT in batches, 200)"

    def commands(self) -> dict[str, list[str]]:
        """Return the command."""
        return {"api": bento.command("direct")}

    def waiting(self) -> int:
        """Return 0: each lead is stored before it is answered."""
        return 0

    def stored(self) -> list[tuple[str, str]]:
        """Return the address of each row, twice: it stands for the id."""
        return [(email, email) for _, email in super().stored()]


class BentoQueue(Bento):
    """Bento in two processes."""

    title = "Bento (HTTP, XADD in batches, 200; XREADGROUP, INSERT in batches)"

    def commands(self) -> dict[str, list[str]]:
        """Return the commands."""
        return {"api": bento.command("intake"), "worker": bento.command("store")}

    def waiting(self) -> int:
        """Return how many entries of the stream are not acknowledged."""
        return bento.waiting(self._queue.client())


PEERS = {"stock": Stock, "bento": Bento, "bento-queue": BentoQueue}
