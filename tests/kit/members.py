"""One server of a MySQL group for the tests, and the place where it runs; see tests.kit.group_replication."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import pymysql
import pytest

from tests.kit.databases import DatabaseServer, MySQLServer, mysqld
from tests.kit.ports import free_port
from tests.kit.servers import Place

REPLICATION_USER, ROUTER_ADMIN = "replication", "router_admin"

# Seconds without a majority after which a member gives up; and for an answer of one that may hang.
NO_MAJORITY = 3
ANSWER_TIMEOUT = 2.0

# What it takes to run three servers on one machine. Memory: 128 MiB is the smallest cache of messages.
_SMALL = (
    "--innodb-redo-log-capacity=16M",
    "--performance-schema-instrument=%=OFF",
    "--performance-schema-digests-size=0",
    "--performance-schema-events-statements-history-long-size=0",
    "--performance-schema-events-waits-history-long-size=0",
    "--performance-schema-max-table-instances=200",
    "--table-open-cache=400",
    "--table-definition-cache=400",
    "--max-connections=100",
    "--group-replication-message-cache-size=134217728",
)


class Seen(NamedTuple):
    """A member as another one sees it."""

    port: int
    host: str
    state: str
    role: str


class Seed(MySQLServer):
    """Data of a server that never runs: the system tables and the users, which each member begins with."""

    def prepare(self, *options: str) -> None:
        """Make the system tables and the users, of which no binary log knows."""
        users = self.directory / "users.sql"
        users.write_text(
            f"CREATE USER {self.USER}@'%' IDENTIFIED BY '{self.PASSWORD}';\n"
            f"CREATE USER {REPLICATION_USER}@'%' IDENTIFIED BY '{self.PASSWORD}';\n"
            f"GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN ON *.* TO {REPLICATION_USER}@'%';\n"
            f"CREATE USER {ROUTER_ADMIN}@'%' IDENTIFIED BY '{self.PASSWORD}';\n"
            f"GRANT ALL ON *.* TO {ROUTER_ADMIN}@'%' WITH GRANT OPTION;\n"
        )
        super().prepare(f"--init-file={users}", *options)
        # The server's own UUID, if it was made already.
        (self.data / "auto.cnf").unlink(missing_ok=True)


class Member(MySQLServer):
    """A member of a group. It joins by itself when it is started, once `joins` is set."""

    # Not among those that are asked what they reserve: one may hang.
    running: ClassVar[list[DatabaseServer]] = []

    def __init__(self, number: int, place: Place, group: str, seed: Seed, *options: str) -> None:
        """Take the member's number from 1 on, its place, the group's UUID, and further options of the server."""
        super().__init__(*options, within=place.directory)
        self.number = number
        self.place = place
        self.joins = False
        self.hangs = False
        self.back_since = 0.0  # when it was started or resumed, by time.monotonic
        self.seeds: Sequence[str] = ()  # where the members talk to each other
        # Below the ephemeral range: nobody takes them while the server is down.
        self.port, self._group_port = free_port(), free_port()
        self._group = group
        self._seed = seed
        self._holds: pymysql.Connection[pymysql.cursors.Cursor] | None = None

    def prepare(self, *options: str) -> None:
        """Copy the system tables."""
        shutil.copytree(self._seed.data, self.data)

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        command = [
            *super().command(),
            f"--bind-address={self.place.address}",
            f"--report-host={self.place.address}",
            f"--report-port={self.port}",
            f"--server-id={self.number}",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--plugin-load-add=group_replication.so",
            f"--group-replication-group-name={self._group}",
            f"--group-replication-local-address={self.talks_at}",
            f"--group-replication-group-seeds={','.join(self.seeds)}",
            f"--group-replication-start-on-boot={'ON' if self.joins else 'OFF'}",
            "--group-replication-recovery-get-public-key=ON",
            "--group-replication-recovery-reconnect-interval=2",
            "--group-replication-consistency=BEFORE_ON_PRIMARY_FAILOVER",
            f"--group-replication-unreachable-majority-timeout={NO_MAJORITY}",
            "--group-replication-member-expel-timeout=0",
            "--group-replication-autorejoin-tries=20",
            "--group-replication-exit-state-action=READ_ONLY",
            *_SMALL,
            *self._options,
        ]
        return [*self.place.prefix, *command]

    @property
    def talks_at(self) -> str:
        """Where the other members reach it."""
        return f"{self.place.address}:{self._group_port}"

    @property
    def runs(self) -> bool:
        """Whether the process is there; it may hang."""
        return self._process is not None

    def start(self) -> None:
        """Start the process, as any server."""
        super().start()
        self.back_since = time.monotonic()

    def hang(self) -> None:
        """Pause the process, as any server."""
        super().hang()
        self.hangs = True

    def resume(self) -> None:
        """Resume the process, if it hangs."""
        if self.hangs:
            super().resume()
            self.hangs = False
            self.back_since = time.monotonic()

    def answers(self) -> bool:
        """Tell whether the server accepts commands; it may be in no group yet."""
        return bool(self.ask("SELECT 1"))

    def ask(self, statement: str) -> tuple[tuple[object, ...], ...]:
        """Return the rows of a statement as root; none while the server is down, hangs or refuses it."""
        try:
            with pymysql.connect(
                unix_socket=str(self._socket),
                user="root",
                connect_timeout=int(ANSWER_TIMEOUT),
                read_timeout=ANSWER_TIMEOUT,
                ssl_disabled=True,
            ) as connection:
                cursor = connection.cursor()
                cursor.execute(statement)
                return tuple(cursor.fetchall())
        except (pymysql.err.MySQLError, OSError):
            return ()

    def read_consistently(self, statement: str) -> tuple[tuple[object, ...], ...]:
        """Return the rows of a statement as root, with all that was committed before on any member."""
        consistent = "SET SESSION group_replication_consistency = 'BEFORE'"
        with pymysql.connect(unix_socket=str(self._socket), user="root", init_command=consistent) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            return tuple(cursor.fetchall())

    @property
    def uuid(self) -> str:
        """The server's name in the group."""
        return str(self.execute("SELECT @@server_uuid")[0][0])

    def sees(self) -> list[Seen]:
        """Return the group as this member sees it; nobody while it does not answer."""
        rows = self.ask(
            "SELECT MEMBER_PORT, MEMBER_HOST, MEMBER_STATE, MEMBER_ROLE "
            "FROM performance_schema.replication_group_members"
        )
        return [Seen(int(str(port)), str(host), str(state), str(role)) for port, host, state, role in rows]

    @property
    def has_left(self) -> bool:
        """Whether the server is no longer in the group; it may be trying to join."""
        return any(self.is_in(each) and each.state == "ERROR" for each in self.sees())

    def is_in(self, seen: Seen) -> bool:
        """Tell whether `seen` is this member."""
        return (seen.host, seen.port) == (self.place.address, self.port)

    def stop_applying(self, table: str = "") -> None:
        """Stop applying the group's changes at the next one to `table`, by default at any, but go on receiving them."""
        self._holds = pymysql.connect(unix_socket=str(self._socket), user="root", connect_timeout=5)
        # The group lets nobody stop its applier, but that waits for locks of tables.
        self._holds.cursor().execute(f"LOCK TABLES {table} READ" if table else "FLUSH TABLES WITH READ LOCK")

    def go_on_applying(self) -> None:
        """Undo `stop_applying`."""
        if self._holds is not None:
            self._holds.close()
            self._holds = None


@cache
def plugin_missing() -> bool:
    """Tell whether this mysqld comes without Group Replication."""
    asked = [mysqld(), "--no-defaults", "--verbose", "--help"]
    lines = subprocess.run(asked, capture_output=True, text=True, cwd="/").stdout.splitlines()
    folder = next((line.split()[1] for line in lines if line.startswith("plugin-dir ")), "")
    return not (Path(folder) / "group_replication.so").exists()


def need_plugin() -> None:
    """Skip the test when Group Replication is not installed, or in CI fail it."""
    if plugin_missing():
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report("MySQL's Group Replication is not installed")
