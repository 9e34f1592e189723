"""A Redis Cluster for the tests: three primaries with two replicas each or others, private processes on free ports."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import redis

from tests.kit.ports import free_port
from tests.kit.servers import RedisServer, until

PRIMARIES = 3

# Of each primary. When one of the three is lost, the new primary still has a replica that confirms its writes.
REPLICAS = 2

# Milliseconds without an answer after which the others take a node for down.
NODE_TIMEOUT = 1000


class Node(RedisServer):
    """One node. Its part in the cluster outlives a restart."""

    def __init__(self) -> None:
        super().__init__()
        self.bus_port = free_port()  # for the other nodes

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [
            *super().command(),
            *("--cluster-enabled", "yes", "--cluster-config-file", str(self.directory / "nodes.conf")),
            *("--cluster-node-timeout", str(NODE_TIMEOUT), "--cluster-port", str(self.bus_port)),
            # A shard without a primary leaves the others as they are.
            *("--cluster-require-full-coverage", "no"),
            *("--repl-diskless-sync-delay", "0", "--repl-timeout", "5"),
        ]

    @property
    def id(self) -> str:
        """The node's name in the cluster."""
        return str(self.cluster("MYID"))

    def cluster(self, *arguments: object) -> Any:
        """Run a CLUSTER command here. Its answer is text."""
        with redis.Redis(port=self.port, socket_timeout=10, decode_responses=True) as client:
            return client.execute_command("CLUSTER", *arguments)

    def is_primary(self) -> bool:
        """Tell whether the node answers and is a primary."""
        try:
            return bool(self.client().role()[0] == b"master")
        except redis.RedisError:
            return False

    def has_replicas(self, number: int = REPLICAS) -> bool:
        """Tell whether the node is a primary, and all its replicas follow it."""
        try:
            found: Any = self.client().info("replication")
        except redis.RedisError:
            return False
        replicas = [each for name, each in found.items() if name.startswith("slave")]
        return found["role"] == "master" and [each["state"] for each in replicas] == ["online"] * number


class ClusterSet:
    """The whole cluster. It stops at the block's end."""

    def __init__(
        self, primaries: int = PRIMARIES, replicas: int = REPLICAS, make: Callable[[int], Node] = lambda number: Node()
    ) -> None:
        """Take the number of primaries, that of each one's replicas, and what makes the nodes by number."""
        self._primaries = primaries
        self._replicas = replicas
        self._make = make
        self._stack = ExitStack()
        self.nodes: list[Node] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            count = self._primaries * (1 + self._replicas)
            self.nodes = [stack.enter_context(self._make(number)) for number in range(count)]
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The URL for the service."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{each.port}' for each in self.nodes)}"

    def primary_of(self, slot: int) -> Node:
        """Return the node that owns a slot, as a node which answers knows it."""
        for node in self.nodes:
            try:
                slots = node.cluster("SLOTS")
            except redis.RedisError:
                continue
            for first, last, primary, *_ in slots:
                if first <= slot <= last:
                    return next(each for each in self.nodes if each.port == primary[1])
        raise AssertionError("no node answers")

    def wait_for_another(self, former: Node, slot: int) -> Node:
        """Wait until another node than `former` owns the slot, and return it."""

        def other() -> Node | None:
            found = self.primary_of(slot)
            return found if found is not former and found.is_primary() else None

        return until(other, 60, 0.1)

    def wait_until_whole(self) -> None:
        """Wait until each slot has a primary, and each primary all its replicas."""

        def is_whole() -> bool:
            owners = {self.primary_of(slot * 16384 // self._primaries).port for slot in range(self._primaries)}
            return all(each.has_replicas(self._replicas) for each in self.nodes if each.port in owners)

        until(is_whole, 60, 0.1)

    def _join(self) -> None:
        first, *others = self.nodes
        for number, node in enumerate(self.nodes, 1):
            node.cluster("SET-CONFIG-EPOCH", number)
        for node in others:
            first.cluster("MEET", "127.0.0.1", node.port, node.bus_port)
        until(lambda: all(len(each.cluster("NODES").splitlines()) == len(self.nodes) for each in self.nodes), 60, 0.1)
        bounds = [part * 16384 // self._primaries for part in range(self._primaries + 1)]
        primaries, replicas = self.nodes[: self._primaries], self.nodes[self._primaries :]
        for node, start, end in zip(primaries, bounds, bounds[1:], strict=False):
            node.cluster("ADDSLOTSRANGE", start, end - 1)
        for replica, primary in zip(replicas, primaries * self._replicas, strict=True):
            until(lambda replica=replica, primary=primary: primary.id in str(replica.cluster("NODES")), 30, 0.1)
            replica.cluster("REPLICATE", primary.id)
        until(lambda: all(str(each.cluster("INFO")).startswith("cluster_state:ok") for each in self.nodes), 60, 0.1)
        self.wait_until_whole()
