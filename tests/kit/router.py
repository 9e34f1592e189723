"""MySQL Router for the tests; see tests.kit.group_replication.

Router learns the group's members from a schema that MySQL Shell makes. Here it is made by
router_metadata.sql, which has what Router asks for and nothing more.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.kit.members import ROUTER_ADMIN, Member
from tests.kit.ports import free_port
from tests.kit.servers import Place, Server, program

METADATA = Path(__file__).with_name("router_metadata.sql")

# Seconds: for an answer of a member that may hang; and between two looks at the group.
READ_TIMEOUT = 2
LOOK_INTERVAL = 0.5

# Run at the Router's place: the test's own process may not reach its address.
_ASK = """
import sys, pymysql
host, port, user, password = sys.argv[1:]
asked = pymysql.connect(host=host, port=int(port), user=user, password=password, connect_timeout=3, read_timeout=3)
cursor = asked.cursor()
cursor.execute("SELECT @@report_host, @@report_port")
print(*cursor.fetchone())
"""


class Router(Server):
    """One Router, whose port for reading and writing leads to the primary."""

    def __init__(self, place: Place, members: Sequence[Member]) -> None:
        """Take the members of a group that runs; the first one is its primary."""
        super().__init__(place.directory)
        self.place = place
        self.port = free_port()
        self._members = members

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.place.address}:{self.port}"

    def prepare(self) -> None:
        """Tell the group about itself, if nobody did, and let Router write its configuration."""
        primary = self._members[0]
        if not primary.execute("SHOW DATABASES LIKE 'mysql_innodb_cluster_metadata'"):
            for statement in METADATA.read_text().split(";\n"):
                if statement.strip():
                    primary.execute(statement)
        options = {
            "DEFAULT.connect_timeout": 1,
            "DEFAULT.read_timeout": READ_TIMEOUT,
            # No connections of its own to a server that nobody asks.
            "connection_pool.max_idle_server_connections": 0,
            "metadata_cache:bootstrap.ttl": LOOK_INTERVAL,
            "routing:bootstrap_rw.bind_address": self.place.address,
            "routing:bootstrap_rw.bind_port": self.port,
            "routing:bootstrap_ro.bind_address": self.place.address,
            "routing:bootstrap_ro.bind_port": free_port(),
        }
        command = [
            *self.place.prefix,
            program("mysqlrouter"),
            f"--bootstrap={ROUTER_ADMIN}@{primary.place.address}:{primary.port}",
            f"--directory={self.directory / 'router'}",
            *(["--user=root"] if os.geteuid() == 0 else []),
            f"--report-host={self.place.address}",
            "--disable-rest",
            "--disable-rw-split",
            "--conf-skip-x-protocol",
            *(f"--conf-set-option={name}={value}" for name, value in options.items()),
        ]
        done = subprocess.run(command, input=f"{Member.PASSWORD}\n", capture_output=True, text=True)
        assert done.returncode == 0, f"Router was not configured:\n{done.stdout}{done.stderr}"

    def command(self) -> list[str]:
        """Return the command that runs the Router in the foreground."""
        return [*self.place.prefix, program("mysqlrouter"), "-c", str(self.directory / "router" / "mysqlrouter.conf")]

    def answers(self) -> bool:
        """Tell whether a client reaches a member."""
        return bool(self._asked())

    def leads_to(self, member: Member) -> bool:
        """Tell whether a new connection leads to this member."""
        return self._asked() == f"{member.place.address} {member.port}"

    def _asked(self) -> str:
        """Return the address of the member that a new connection leads to; "" when there is none."""
        asked = [*self.place.prefix, sys.executable, "-c", _ASK, self.place.address, str(self.port)]
        return subprocess.run([*asked, Member.USER, Member.PASSWORD], capture_output=True, text=True).stdout.strip()
