"""Private MySQL and MariaDB servers for the tests; see tests.kit.servers."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

import pymysql

from tests.kit.ports import free_port
from tests.kit.servers import Server, find_program, program

SYNTAX_ERROR = 1064

# Data directories that were prepared once for all test processes of this checkout.
PREPARED = Path(__file__).parents[2] / "var" / "tests"


class DatabaseServer(Server):
    """A database server on a TCP port, with a user who has privileges on the databases made here only."""

    USER, PASSWORD = "leads", "secret"

    running: ClassVar[list["DatabaseServer"]] = []  # running servers of this process

    name: ClassVar[str]  # in DATABASE= and in the ids of tests
    title: ClassVar[str]  # for people

    # Name of the option for the size of the redo log.
    redo_log: ClassVar[str]

    # Options for replication.
    primary_options: ClassVar[tuple[str, ...]]
    replica_options: ClassVar[tuple[str, ...]]

    def __init__(self, *options: str, within: Path | None = None) -> None:
        """Take further options of the server, which override the defaults."""
        super().__init__(within)
        self._options = options
        self.port = free_port()
        self.data = self.directory / "data"
        self._socket = self.directory / "mysqld.sock"
        self._databases = 0

    @classmethod
    def of_disk(cls, *options: str) -> Self:
        """Make a server with its product's default I/O, for benchmarks and chaos runs."""
        return cls(*options)

    def start(self) -> None:
        """Start the process on the existing data, and wait until it answers."""
        super().start()
        self.running.append(self)

    def kill(self) -> None:
        """Kill the process (SIGKILL), if it runs."""
        super().kill()
        if self in self.running:
            self.running.remove(self)

    def answers(self) -> bool:
        """Tell whether the server accepts commands; create the user if needed."""
        try:
            self.execute(f"CREATE USER IF NOT EXISTS {self.USER}@'127.0.0.1' IDENTIFIED BY '{self.PASSWORD}'")
        except pymysql.err.OperationalError:
            return False
        return True

    def create_database(self, *, tls: bool = True) -> str:
        """Make an empty database and return its URL for SQLAlchemy.

        For a connection with TLS PyMySQL loads the system's certificates: 30 ms of a core each time.
        """
        self._databases += 1
        name = f"leads_{self._databases}"
        self.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        self.execute(f"GRANT ALL ON {name}.* TO {self.USER}@'127.0.0.1'")
        options = "" if tls else "?ssl_disabled=true"
        return f"mysql+pymysql://{self.USER}:{self.PASSWORD}@127.0.0.1:{self.port}/{name}{options}"

    def version(self) -> str:
        """Return the server's version number."""
        return str(self.execute("SELECT VERSION()")[0][0]).partition("-")[0]

    def analyze(self, table: str) -> None:
        """Refresh the optimiser's statistics."""
        self.execute(f"ANALYZE TABLE {table}")

    def follow(self, primary: Self) -> None:
        """Become a replica of a server made with `primary_options`, from its present position on."""
        raise NotImplementedError

    def stop_applying(self) -> None:
        """Stop applying the primary's changes, but keep receiving them."""
        raise NotImplementedError

    def go_on_applying(self) -> None:
        """Undo `stop_applying`."""
        raise NotImplementedError

    def execute(self, statement: str, *arguments: object) -> tuple[tuple[Any, ...], ...]:
        """Run a statement as root on a new connection, and return its rows."""
        with self._connect_as_root() as connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return tuple(cursor.fetchall())

    def run_script(self, sql: str) -> None:
        """Run the statements of a script as root, in one session. Lines that begin with `--` are comments."""
        lines = [line for line in sql.splitlines() if not line.startswith("--")]
        with self._connect_as_root() as connection, connection.cursor() as cursor:
            for statement in filter(str.strip, "\n".join(lines).split(";")):
                cursor.execute(statement)

    def _connect_as_root(self) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        return pymysql.connect(
            unix_socket=str(self._socket), user="root", autocommit=True, connect_timeout=5, ssl_disabled=True
        )

    def parses(self, statement: str) -> bool:
        """Tell whether a statement runs without a syntax error. Other errors are raised."""
        try:
            self.execute(statement)
        except pymysql.err.ProgrammingError as error:
            if error.args[0] == SYNTAX_ERROR:
                return False
            raise
        return True

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
        """Collect all statements that the server runs within the block. The list is filled at the block's end."""
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

    def _common(self) -> list[str]:
        return [
            *self._user(),
            f"--datadir={self.data}",
            f"--tmpdir={self.directory}",
            f"--socket={self._socket}",
            f"--pid-file={self.directory / 'mysqld.pid'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=1",
        ]

    def _user(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _prepare_by(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"the system tables were not made:\n{done.stdout}{done.stderr}"


class MySQLServer(DatabaseServer):
    """MySQL 8.4 or later, with its binary log and GTIDs."""

    name, title = "mysql", "MySQL"
    redo_log = "innodb-redo-log-capacity"

    primary_options = ("--server-id=1", "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
    replica_options = ("--server-id=2", *primary_options[1:], "--replicate-ignore-db=mysql")

    def prepare(self, *options: str) -> None:
        """Make the system tables, with further options; without any, from a copy of those that were made first.

        Making them takes 7 s, a copy a third of a second.
        """
        if options:
            self._make_system_tables(*options)
            return
        made = PREPARED / f"mysql-{Path(mysqld()).stat().st_mtime_ns}"
        if not made.exists():
            self._make_system_tables()
            # The server's UUID, which no two may share; it makes another one.
            (self.data / "auto.cnf").unlink()
            made.parent.mkdir(parents=True, exist_ok=True)
            # Two processes may do this at once: the first rename wins.
            with tempfile.TemporaryDirectory(dir=made.parent) as aside, suppress(OSError):
                Path(shutil.copytree(self.data, f"{aside}/data")).rename(made)
            return
        shutil.copytree(made, self.data)

    def _make_system_tables(self, *options: str) -> None:
        self._prepare_by(
            [
                mysqld(),
                "--no-defaults",
                *self._user(),
                "--initialize-insecure",
                f"--datadir={self.data}",
                f"--tmpdir={self.directory}",
                *options,
            ]
        )

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [mysqld(), "--no-defaults", *self._common(), "--mysqlx=OFF", *self._options]

    def follow(self, primary: Self) -> None:
        """Become a replica of a server made with `primary_options`, from its present position on."""
        primary.execute("CREATE USER replica@'127.0.0.1' IDENTIFIED BY 'secret'")
        primary.execute("GRANT REPLICATION SLAVE ON *.* TO replica@'127.0.0.1'")
        # Skip the earlier transactions, which changed the primary's system tables only.
        self.execute("RESET BINARY LOGS AND GTIDS")
        self.execute(f"SET GLOBAL gtid_purged = '{primary.execute('SELECT @@GLOBAL.gtid_executed')[0][0]}'")
        self.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={primary.port}, SOURCE_USER='replica', "
            "SOURCE_PASSWORD='secret', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1"
        )
        self.execute("START REPLICA")

    def stop_applying(self) -> None:
        """Stop applying the primary's changes, but keep receiving them."""
        self.execute("STOP REPLICA SQL_THREAD")

    def go_on_applying(self) -> None:
        """Undo `stop_applying`."""
        self.execute("START REPLICA SQL_THREAD")


class MariaDBServer(DatabaseServer):
    """MariaDB 10.11 or later."""

    name, title = "mariadb", "MariaDB"
    redo_log = "innodb-log-file-size"

    primary_options = ("--server-id=1", "--log-bin=log", "--binlog-format=ROW")
    replica_options = ("--server-id=2", "--replicate-ignore-db=mysql")

    @classmethod
    def of_disk(cls, *options: str) -> Self:
        """Make a server with native asynchronous I/O (io_uring, where available).

        The other servers turn it off: once a killed server failed to recover ("Data structure corruption"), perhaps
        because writes queued in io_uring reached the disk after its successor had started. The cause is unknown; it
        did not happen again in 270 kills with either setting.
        """
        return cls("--innodb-use-native-aio=1", *options)

    def prepare(self) -> None:
        """Make the system tables."""
        self._prepare_by(
            [
                program("mariadb-install-db"),
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                f"--datadir={self.data}",
                f"--tmpdir={self.directory}",
                *self._user(),
            ]
        )

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [program("mariadbd"), "--no-defaults", *self._common(), "--innodb-use-native-aio=0", *self._options]

    def analyze(self, table: str) -> None:
        """Refresh the optimiser's statistics, including those of each column."""
        self.execute(f"ANALYZE TABLE {table} PERSISTENT FOR ALL")

    def follow(self, primary: Self) -> None:
        """Become a replica of a server made with `primary_options`, from its present position on."""
        primary.execute("CREATE USER replica@'127.0.0.1' IDENTIFIED BY 'secret'")
        primary.execute("GRANT REPLICATION SLAVE ON *.* TO replica@'127.0.0.1'")
        name, position = primary.execute("SHOW MASTER STATUS")[0][:2]
        self.execute(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='replica', "
            f"MASTER_PASSWORD='secret', MASTER_LOG_FILE='{name}', MASTER_LOG_POS={position}, MASTER_CONNECT_RETRY=1"
        )
        self.execute("START SLAVE")

    def stop_applying(self) -> None:
        """Stop applying the primary's changes, but keep receiving them."""
        self.execute("STOP SLAVE SQL_THREAD")

    def go_on_applying(self) -> None:
        """Undo `stop_applying`."""
        self.execute("START SLAVE SQL_THREAD")


def mysqld() -> str:
    """Return the path of MySQL's mysqld; MariaDB's package has a program of the same name."""
    return program("mysqld", takes=is_mysql)


def is_mysql(path: str) -> bool:
    """Tell whether the mysqld at `path` is MySQL's."""
    return "MariaDB" not in subprocess.run([path, "--version"], capture_output=True, text=True).stdout


def chosen(name: str) -> type[MySQLServer] | type[MariaDBServer]:
    """Return the class of the server called `name`; for "" MySQL if it is installed, else MariaDB."""
    if name:
        return DATABASES[name]
    return MySQLServer if find_program("mysqld", takes=is_mysql) else MariaDBServer


DATABASES: dict[str, type[MySQLServer] | type[MariaDBServer]] = {
    each.name: each for each in (MySQLServer, MariaDBServer)
}
