"""Redis under Sentinel for the tests: a primary, two replicas and three Sentinels, private processes on free ports.

By default all are on the loopback interface; with places there is one server and one Sentinel at each.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

import redis

from tests.kit.servers import Place, RedisServer, until

NAME = "leads"
REPLICAS = 2
SENTINELS = 3

# Milliseconds without an answer after which a Sentinel takes a server for down.
DOWN_AFTER = 1000


class Replica(RedisServer):
    """A server that follows another one at first, or nobody."""

    def __init__(self, place: Place, primary: RedisServer | None, password: str = "") -> None:
        super().__init__(place=place)
        self._primary = primary
        self._password = password

    @property
    def url(self) -> str:
        """The URL for clients."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}{self.place.address}:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration: Sentinel changes it, and it outlives a restart."""
        follows = f"replicaof {self._primary.place.address} {self._primary.port}\n" if self._primary else ""
        secret = f"requirepass {self._password}\nmasterauth {self._password}\n" if self._password else ""
        (self.directory / "redis.conf").write_text(f"repl-diskless-sync-delay 0\nrepl-timeout 5\n{secret}{follows}")

    def options(self) -> list[str]:
        """Return the arguments of the command."""
        return [str(self.directory / "redis.conf"), *super().options()]


class SentinelProcess(RedisServer):
    """One Sentinel."""

    def __init__(self, place: Place, primary: RedisServer, password: str) -> None:
        super().__init__(place=place)
        self._primary = primary
        self._password = password

    def prepare(self) -> None:
        """Write the configuration."""
        secret = f"sentinel auth-pass {NAME} {self._password}\n" if self._password else ""
        (self.directory / "sentinel.conf").write_text(
            f"port {self.port}\nbind {self.place.address}\nprotected-mode no\ndir {self.directory}\n"
            f"sentinel monitor {NAME} {self._primary.place.address} {self._primary.port} 2\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {NAME} 5000\nsentinel parallel-syncs {NAME} {REPLICAS}\n{secret}"
        )

    def options(self) -> list[str]:
        """Return the arguments of the command."""
        return [str(self.directory / "sentinel.conf"), "--sentinel"]

    def primary(self) -> int:
        """Return the port of the primary, as this Sentinel knows it."""
        return int(self.client().sentinel_get_master_addr_by_name(NAME)[1])

    def knows_all(self) -> bool:
        """Tell whether the others and all replicas were found."""
        state = self.client().sentinel_master(NAME)
        return state["num-other-sentinels"] == SENTINELS - 1 and state["num-slaves"] == REPLICAS


class SentinelSet:
    """The whole set. It stops at the block's end."""

    def __init__(self, places: Sequence[Place] = (Place(),) * SENTINELS, *, password: str = "") -> None:
        """Take the places, and the password of the user `default` of every Redis; the Sentinels have none."""
        self._places = places
        self._password = password
        self._stack = ExitStack()
        self.servers: list[Replica] = []
        self.sentinels: list[SentinelProcess] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            first = stack.enter_context(Replica(self._places[0], None, self._password))
            others = (Replica(each, first, self._password) for each in self._places[1:])
            self.servers = [first, *(stack.enter_context(each) for each in others)]
            until(lambda: first.client().info("replication")["connected_slaves"] == REPLICAS)
            watchers = (SentinelProcess(each, first, self._password) for each in self._places)
            self.sentinels = [stack.enter_context(each) for each in watchers]
            until(lambda: all(each.knows_all() for each in self.sentinels))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The URL for the service."""
        return f"redis+sentinel://{','.join(f'{each.place.address}:{each.port}' for each in self.sentinels)}/{NAME}"

    @property
    def primary(self) -> Replica:
        """The present primary, as most Sentinels know it."""
        known = [each.primary() for each in self.sentinels]
        return next(each for each in self.servers if each.port == max(known, key=known.count))

    def demote(self) -> None:
        """Let a Sentinel promote a replica, as an operator does. The former primary lives on."""

        def began() -> bool:
            try:
                return bool(self.sentinels[0].client().execute_command("SENTINEL", "FAILOVER", NAME))
            except redis.ResponseError:
                # It has not found a good replica yet, or the failover before is not over.
                return False

        until(began, 30, 0.2)

    def wait_for_another(self, former: Replica) -> Replica:
        """Wait until another server than `former` is the primary, and return it."""

        def other() -> Replica | None:
            found = self.primary
            try:
                is_primary = found is not former and found.client().role()[0] == b"master"
            except redis.RedisError:
                is_primary = False
            return found if is_primary else None

        return until(other, 60, 0.1)
