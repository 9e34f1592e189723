"""The processes of either release, on the servers that both share."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx

from tests.kit.databases import DatabaseServer
from tests.kit.servers import RedisServer, until
from tests.kit.service import EMAIL, PASSWORD, START_DEADLINE, Service

# Seconds in which a worker may finish what it does, before it is killed: what it had read is claimed by another.
WORKER_STOP_TIMEOUT = 5.0


class Part(Service):
    """One process of one release, in a data dir of its own, and a way to run its commands."""

    def __init__(self, root: Path, directory: Path, *command: str, **settings: object) -> None:
        """Take the release's code and what follows `python -m`."""
        super().__init__(directory, **settings)
        self.root = root
        self._command = command

    def command(self) -> list[str]:
        """Return the command line that starts the process; where the system can, it ends with us."""
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if (setpriv := shutil.which("setpriv")) else []
        return [*guard, sys.executable, "-m", *self._command]

    def start(self) -> Self:
        """Start the process and wait until it does its work."""
        process = self.launch()
        until(lambda: process.poll() is not None or self.is_ready(), START_DEADLINE, 0.05)
        assert process.poll() is None, f"ended with {process.returncode}: {self.errors}"
        return self

    def is_ready(self) -> bool:
        """Tell whether it does its work."""
        return True

    def finish(self, within: float) -> None:
        """Ask it to stop, and kill what is left of it after `within` seconds."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.end()

    def must(self, *command: str, given: str = "") -> str:
        """Run a command that must succeed, and return what it says."""
        done = self.run(*command, given=given, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout


class Api(Part):
    """An API process."""

    def is_ready(self) -> bool:
        """Tell whether it takes requests."""
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.HTTPError:
            return False


class Worker(Part):
    """A worker with two pool processes."""

    def is_ready(self) -> bool:
        """Tell whether its metrics answer, and so its pool runs."""
        try:
            port = self.settings["worker_metrics_port"]
            return "leads_worker_processes 2" in httpx.get(f"http://127.0.0.1:{port}/metrics").text.replace(".0", "")
        except httpx.HTTPError:
            return False


class Installation:
    """One Redis and one database, and any number of processes that share them and the tokens' keys."""

    def __init__(self, directory: Path, database: DatabaseServer, queue: RedisServer, last: Path, new: Path) -> None:
        """Take the code of both releases."""
        queue.client().flushall()
        self.url = database.create_database()
        self.last, self.new = last, new
        self._directory = directory
        self._queue = queue
        self._parts: list[Part] = []
        (directory / "keys").mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.client.close()
            part.end()

    def api(self, root: Path) -> Api:
        """Return an API process, not started."""
        return self._part(Api, root, "ingest_api", "serve", http_workers=1)

    def worker(self, root: Path) -> Worker:
        """Return a worker, not started."""
        return self._part(Worker, root, "workers", "worker", worker_concurrency=2, worker_nice=0)

    def beat(self, root: Path) -> Part:
        """Return a beat, not started."""
        return self._part(Part, root, "workers", "beat")

    def commands(self, root: Path) -> Part:
        """Return what runs commands of a release."""
        return self._part(Part, root)

    def create_user(self, root: Path) -> None:
        """Make the user who sends and reads."""
        self.commands(root).must(
            "ingest_api", "user", "create", EMAIL, "--role", "ingest", "--role", "read", given=PASSWORD + "\n"
        )

    def _part(self, kind: type[Any], root: Path, *command: str, **settings: object) -> Any:
        directory = self._directory / f"{len(self._parts)}-{'-'.join(command) or 'commands'}"
        (directory / "data").mkdir(parents=True)
        (directory / "data" / "keys").symlink_to(self._directory / "keys")
        shared = {"redis_url": self._queue.url, "database_url": self.url, "claim_after": 2, "sweep_interval": 1}
        part = kind(root, directory, *command, **shared, **settings)
        self._parts.append(part)
        return part
