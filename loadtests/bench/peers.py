"""The peers as contenders, each with the same number of API processes as ours."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import httpx
import psutil
import redis

from loadtests.bench.contenders import Contender
from loadtests.bench.processes import family
from loadtests.bench.wrk import BadAnswers
from loadtests.peers.ending import end_all
from tests.kit.databases import DatabaseServer
from tests.kit.ports import free_port
from tests.kit.servers import RedisServer, until
from tests.kit.service import ROOT


class CannotInstall(Exception):
    """A contender cannot run here; the message says why."""


class Peer(Contender):
    """A contender of loadtests/peers."""

    broker = 1  # number of Redis's database
    python = sys.executable

    def __init__(self, directory: Path, database: DatabaseServer, queue: RedisServer, *, processes: int = 2) -> None:
        super().__init__(database, queue)
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.http_workers = processes
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.broker_url = f"{queue.url.rpartition('/')[0]}/{self.broker}"
        self.environment = {
            **os.environ,
            "PEER_REDIS_URL": self.broker_url,
            "PEER_DATABASE_URL": self.database_url,
            "LEADS_HTTP_PORT": str(self.port),
            "LEADS_HTTP_WORKERS": str(processes),
            "LEADS_DATA_DIR": str(directory),
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def commands(self) -> dict[str, list[str]]:
        """Return the command lines by name; "api" is the one that answers."""
        raise NotImplementedError

    def module(self, *arguments: str) -> list[str]:
        """Return the command line of a Python module."""
        return [self.python, "-m", *arguments]

    def gunicorn(self, *arguments: str) -> list[str]:
        """Return gunicorn's command line."""
        bind = ["-b", f"127.0.0.1:{self.port}", "-w", str(self.http_workers), "--no-control-socket"]
        return self.module("gunicorn", *bind, *arguments, f"loadtests.peers.{self.name}.api:app")

    def start(self) -> None:
        """Start it; on return it accepts leads."""
        if self.stores:
            make = [sys.executable, "-m", "loadtests.peers.table"]
            subprocess.run(make, cwd=ROOT, env=self.environment, check=True)
        tied = [shutil.which("setpriv"), "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        for name, command in self.commands().items():
            with (self.directory / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    [*tied, *command],
                    cwd=ROOT,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        until(self._answers, 30, 0.1)

    def _answers(self) -> bool:
        for name, process in self.running.items():
            if process.poll() is not None:
                log = (self.directory / f"{name}.log").read_text()[-1000:]
                raise BadAnswers(f"{self.name}: its {name} ended:\n{log}")
        try:
            return httpx.get(f"{self.url}/api/leads", timeout=1).status_code == 405
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """Stop it."""
        end_all(self.running.values())

    def api(self) -> list[psutil.Process]:
        """Return the processes that answer requests."""
        return psutil.Process(self.running["api"].pid).children()

    def processes(self) -> list[psutil.Process]:
        """Return all processes."""
        return [each for process in self.running.values() for each in family(psutil.Process(process.pid))]

    def worker(self) -> list[psutil.Process]:
        """Return Celery's main process and its pool."""
        worker = self.running.get("worker")
        return family(psutil.Process(worker.pid)) if worker else []

    def waiting(self) -> int:
        """Return the number of messages that wait or are not acknowledged."""
        with redis.Redis.from_url(self.broker_url, socket_timeout=10) as client:
            return int(client.llen("celery")) + int(client.hlen("unacked"))


class Stock(Peer):
    """Falcon, `task.delay()`, one INSERT per task."""

    name = "stock"
    what = "Falcon (WSGI) under gunicorn's threads, task.delay(), one INSERT a task"
    not_done = "no token, validation, rate limit, request log, metrics; two indexes in place of four, no counts"

    def commands(self) -> dict[str, list[str]]:
        """Return the commands."""
        worker = self.module("celery", "-A", f"loadtests.peers.{self.name}.tasks", "worker")
        return {"api": self.gunicorn("-k", "gthread", "--threads", "4"), "worker": worker}


class Batches(Stock):
    """celery-batches, in a virtual environment of its own."""

    name = "batches"
    what = "Falcon (WSGI) under gunicorn's threads, task.delay(), celery-batches: one INSERT for 100 tasks"
    broker = 2

    def start(self) -> None:
        """Start it; on return it accepts leads.

        Raises CannotInstall.
        """
        self.python = str(_install_aside("batches"))
        super().start()


class Direct(Peer):
    """FastAPI and SQLAlchemy: INSERT and COMMIT before the answer."""

    name = "direct"
    what = "FastAPI, SQLAlchemy session, INSERT and COMMIT before the answer, gunicorn with uvicorn's worker"
    not_done = "no token, rate limit, request log, metrics; two indexes in place of four, no counts"

    def commands(self) -> dict[str, list[str]]:
        """Return the commands."""
        return {"api": self.gunicorn("-k", "uvicorn_worker.UvicornWorker")}

    def waiting(self) -> int:
        """Return 0, because each lead is stored before it is answered."""
        return 0


class Constant(Direct):
    """The limit: our server with a route that reads the body and answers a constant."""

    name = "constant"
    what = "a Falcon route that reads the body and answers a constant, on ours' server"
    not_done = "all of it"
    stores = False

    def commands(self) -> dict[str, list[str]]:
        """Return the commands."""
        return {"api": self.module("loadtests.peers.constant")}


def _install_aside(peer: str) -> Path:
    """Install a peer's lock file into a virtual environment under var/, unless that is done; return its Python.

    Raises CannotInstall.
    """
    lock = ROOT / "loadtests" / "peers" / peer / "requirements.lock"
    home = ROOT / "var" / "bench" / f"venv-{peer}"
    python, done = home / "bin" / "python", home / ".installed"
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return python
    print(f"  installing {peer} into an environment of its own …", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home)
    pip = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), "--require-hashes"]
    found = subprocess.run([*pip, "-r", str(lock)], capture_output=True, text=True, check=False)
    if found.returncode:
        raise CannotInstall(f"{peer} cannot be installed: {found.stderr.strip().splitlines()[-1:]}")
    done.write_bytes(lock.read_bytes())
    return python
