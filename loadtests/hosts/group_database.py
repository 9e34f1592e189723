"""MySQL Group Replication: on each host one member, and a Router through which that host reaches the primary."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from tests.kit.group_replication import GroupReplication
from tests.kit.hosts import Host, Unit
from tests.kit.members import Member
from tests.kit.router import Router
from tests.kit.servers import START_DEADLINE, Place, until


@dataclass(frozen=True)
class HostPlace(Place):
    """A place on a host, which keeps alive what runs there."""

    host: Host | None = None


def place_of(host: Host) -> HostPlace:
    """Return the place of a host's servers, on its disk."""
    return HostPlace(host.address, host.prefix, host.disk, host)


def keep_alive(server: Member | Router, unit: str) -> None:
    """Make the server's command a unit of its host; it starts when it does not run."""
    place = cast(HostPlace, server.place)
    assert place.host is not None
    # A boot empties /run: mysqld does not start when the process that its socket's lock names seems to run.
    unlocked = ["sh", "-c", 'rm -f "$0"/*.lock; exec "$@"', str(server.directory)]
    # A unit is in the host's network already.
    place.host.set_unit(unit, Unit([*unlocked, *server.command()[len(place.prefix) :]]))


class HostMember(Member):
    """A member whose process is its host's."""

    def start(self) -> None:
        """Let the host start it, and wait until it answers."""
        keep_alive(self, "mysqld")
        until(self.answers, START_DEADLINE)

    def kill(self) -> None:
        """Leave it to its host, with which it ends."""


class HostRouter(Router):
    """A Router whose process is its host's."""

    def start(self) -> None:
        """Let the host start it, and wait until it leads to the primary."""
        keep_alive(self, "router")
        until(self.answers, START_DEADLINE, 0.2)

    def kill(self) -> None:
        """Leave it to its host, with which it ends."""


class HostGroup(GroupReplication):
    """A group whose processes are its hosts'."""

    member_class, router_class = HostMember, HostRouter


class GroupDatabase:
    """The group, with one database of the service."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        places = [place_of(host) for host in hosts]
        self._hosts = hosts
        self._group = HostGroup(places, routers=places)
        self.title = "MySQL Group Replication and Router"
        self.name = ""

    def install(self) -> None:
        """Start the members, make a group of them, and start the Routers."""
        self._group.__enter__()
        for member in self._group.members:
            # From now on a member that starts joins.
            keep_alive(member, "mysqld")
        self.name = self._group.url.rpartition("/")[2]
        self.title = f"MySQL {self._group.members[0].version()} Group Replication and Router"

    def url(self, host: Host) -> str:
        """Return the URL at which a host reaches the primary: through its own Router."""
        return self._group.through(self._group.routers[self._hosts.index(host)], self._group.url)

    def ill(self) -> str:
        """Return what is not well; "" when every member is online and sees all others so."""
        for member in self._group.members:
            states = sorted(seen.state for seen in member.sees())
            if states != ["ONLINE"] * len(self._hosts):
                return f"mysqld of host{member.number} sees {', '.join(states) or 'nobody'}"
        return "" if self.primary() else "no primary of the group"

    def primary(self) -> Host | None:
        """Return the host of the present primary; None while none is known."""
        found = self._group.find_primary()
        return self._host_of(found) if found else None

    def demote(self) -> str:
        """Let the group choose the next member."""
        members = self._group.members
        chosen = members[members.index(self._group.primary) + 1 - len(members)]
        self._group.make_primary(chosen)
        return f"group_replication_set_as_primary for {self._host_of(chosen).name}"

    def ask(self, host: Host, statement: str) -> tuple[tuple[object, ...], ...]:
        """Return the rows of a statement at one host's member; none while it does not answer."""
        return self._group.members[self._hosts.index(host)].ask(statement)

    def read_all(self, statement: str) -> tuple[tuple[object, ...], ...]:
        """Return the rows of a statement, with everything that was committed before on any member."""
        return self._group.primary.read_consistently(statement)

    def _host_of(self, member: Member) -> Host:
        return self._hosts[member.number - 1]
