"""MySQL Group Replication for the tests: three members with one primary, and MySQL Router in front of them.

All are private processes on free ports. By default they share the loopback interface; a Place puts a
member or a Router at another address, by a command that begins with its `prefix`:

    hosts = [Place(f"10.0.0.{n}", ("ip", "netns", "exec", f"host{n}")) for n in (1, 2, 3)]
    with GroupReplication(hosts, routers=hosts) as group:
        url = group.create_database()               # through the first Router
        there = group.through(group.routers[1], url)
        lost = group.primary
        lost.kill()                                 # or hang; then start, or resume
        group.wait_for_another(lost)

Nothing here connects to a member but by its unix socket, so it answers whatever is cut.
"""

import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import Self

from sqlalchemy import make_url

from tests.kit.members import REPLICATION_USER, Member, Seed, need_plugin
from tests.kit.router import Router
from tests.kit.servers import Place, program, until

MEMBERS = 3

# Longest time (seconds) for the group to agree, on a busy machine.
AGREEMENT = 90.0

# Seconds after which a member that came back is no longer expelled for its absence, which the others may do late.
SETTLED = 6.0

# Seconds for members to come back by themselves. Where the first attempt fails, MySQL's next is after five minutes.
FIRST_ATTEMPT = 30.0

RECOVERY = "group_replication_recovery"


class GroupReplication:
    """The members and the Routers. They stop at the block's end."""

    member_class, router_class = Member, Router

    def __init__(
        self,
        places: Sequence[Place] = (Place(),) * MEMBERS,
        *options: str,
        routers: Sequence[Place] = (Place(),),
        several_primaries: bool = False,
    ) -> None:
        """Take the members' places, further options of each member, and the Routers' places.

        With `several_primaries` all members take writes.
        """
        self.members: list[Member] = []
        self.routers: list[Router] = []
        self._places = places
        self._options = options
        self._router_places = routers
        self._several = several_primaries
        self._stack = ExitStack()
        self._databases = 0

    def __enter__(self) -> Self:
        need_plugin()
        if self._router_places:
            program("mysqlrouter")
        with ExitStack() as stack:
            seed = Seed()
            stack.callback(seed.stop)
            seed.prepare()
            if self._several:
                mode = (
                    "--group-replication-single-primary-mode=OFF",
                    "--group-replication-enforce-update-everywhere-checks=ON",
                )
                self._options = (*mode, *self._options)
            group = str(uuid.uuid4())
            numbered = enumerate(self._places, 1)
            self.members = [self.member_class(number, place, group, seed, *self._options) for number, place in numbered]
            for member in self.members:
                member.seeds = [each.talks_at for each in self.members]
                stack.enter_context(member)
            self._form(self.members[0])
            for place in self._router_places:
                self.routers.append(stack.enter_context(self.router_class(place, self.members)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def url(self) -> str:
        """The URL of one database through the first Router, for the service."""
        return self.create_database()

    def create_database(self) -> str:
        """Make an empty database; return its URL through the first Router, or without one at the primary."""
        self._databases += 1
        name = f"leads_{self._databases}"
        primary = self.primary
        primary.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        primary.execute(f"GRANT ALL ON {name}.* TO {Member.USER}@'%'")
        address = self.routers[0].address if self.routers else f"{primary.place.address}:{primary.port}"
        return f"mysql+pymysql://{Member.USER}:{Member.PASSWORD}@{address}/{name}"

    def through(self, router: Router, url: str) -> str:
        """Return the URL of the same database through another Router."""
        return self._at(url, router.place.address, router.port)

    def direct_url(self, member: Member, url: str = "") -> str:
        """Return the URL of a database, by default `url`, at a member, past the Router."""
        return self._at(url or self.url, member.place.address, member.port)

    @staticmethod
    def _at(url: str, host: str, port: int) -> str:
        return make_url(url).set(host=host, port=port).render_as_string(hide_password=False)

    @property
    def primary(self) -> Member:
        """The present primary, as a majority agrees."""
        return until(self.find_primary, AGREEMENT, 0.1)

    def find_primary(self) -> Member | None:
        """Return the primary; None while no members with a majority agree on one."""
        for member in self.members:
            seen = member.sees()
            well = [each for each in seen if each.state in ("ONLINE", "RECOVERING")]
            if len(well) * 2 > len(seen):
                for each in seen:
                    if (each.role, each.state) == ("PRIMARY", "ONLINE"):
                        return next(found for found in self.members if found.is_in(each))
        return None

    def wait_for_another(self, former: Member) -> Member:
        """Wait until another member than `former` is the primary and takes writes, and return it."""

        def other() -> Member | None:
            found = self.find_writable()
            return None if found is former else found

        return until(other, AGREEMENT, 0.1)

    def find_writable(self) -> Member | None:
        """Return the primary, if it takes writes; one that a member only remembers does not."""
        found = self.find_primary()
        return found if found and found.ask("SELECT 1 WHERE NOT @@super_read_only") else None

    def is_dissolved(self) -> bool:
        """Tell whether all members have left: no group is there to join, and somebody has to bootstrap it."""
        return all(member.has_left for member in self.members)

    def is_whole(self) -> bool:
        """Tell whether every member is online and sees all others so."""
        return all([each.state for each in member.sees()] == ["ONLINE"] * len(self.members) for member in self.members)

    def wait_until_whole(self) -> None:
        """Wait until every member is online and sees all others so, and each Router leads to the primary."""
        until(self.is_whole, AGREEMENT, 0.1)
        if not self._several:
            self.wait_for_routers()

    def wait_for_routers(self) -> None:
        """Wait until each Router leads to the primary."""
        for router in self.routers:
            until(lambda router=router: router.leads_to(self.primary), AGREEMENT, 0.1)

    def mend(self) -> None:
        """Start members that were killed, resume those that hang, and wait until all is whole.

        Those that do not come back within FIRST_ATTEMPT are told to join, as an operator does.
        """
        for member in self.members:
            if member.runs:
                member.resume()
            else:
                member.start()
        settled = max(member.back_since for member in self.members) + SETTLED
        with suppress(AssertionError):
            until(lambda: time.monotonic() > settled and self.is_whole(), FIRST_ATTEMPT, 0.1)
        if self.is_dissolved():
            self.bootstrap_again()
        for member in self.members:
            if member.has_left:
                member.execute("STOP GROUP_REPLICATION")
                member.execute("START GROUP_REPLICATION")
        self.wait_until_whole()

    def make_primary(self, member: Member) -> None:
        """Let the group choose `member`, as an operator does; returns when it is the primary."""
        self.primary.execute(f"SELECT group_replication_set_as_primary('{member.uuid}')")

    def bootstrap_again(self) -> None:
        """Start the group anew after all members were lost, from the one that has most."""
        for member in self.members:
            member.kill()
            member.joins = False
            member.start()
        have = {member.number: self._has(member) for member in self.members}
        first = max(self.members, key=lambda one: sum(_holds(one, have[one.number], each) for each in have.values()))
        self._form(first)

    def _form(self, first: Member) -> None:
        """Bootstrap the group at `first`, and let the others join; from now on each joins by itself."""
        for member in self.members:
            member.execute(
                f"CHANGE REPLICATION SOURCE TO SOURCE_USER='{REPLICATION_USER}', SOURCE_PASSWORD='{Member.PASSWORD}' "
                f"FOR CHANNEL '{RECOVERY}'"
            )
        first.execute("SET GLOBAL group_replication_bootstrap_group = ON")
        first.execute("START GROUP_REPLICATION")
        first.execute("SET GLOBAL group_replication_bootstrap_group = OFF")
        for member in self.members:
            if member is not first:
                member.execute("START GROUP_REPLICATION")
            member.joins = True
        self.wait_until_whole()

    def _has(self, member: Member) -> str:
        """Return the transactions that a member has executed or received."""
        received = member.execute(
            "SELECT RECEIVED_TRANSACTION_SET FROM performance_schema.replication_connection_status "
            "WHERE CHANNEL_NAME = 'group_replication_applier'"
        )
        executed = str(member.execute("SELECT @@GLOBAL.gtid_executed")[0][0])
        return ",".join(filter(None, [executed, *(str(row[0]) for row in received)]))


def _holds(member: Member, all_of: str, part: str) -> bool:
    return bool(member.execute("SELECT GTID_SUBSET(%s, %s)", part, all_of)[0][0])
