"""Redis under Sentinel: on each host one server and one Sentinel, set up as docs/several-hosts.md says."""

import subprocess
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from loadtests.hosts.parts import first_ill
from tests.kit.hosts import Host, Unit
from tests.kit.servers import program, until

NAME = "leads"
PORT, SENTINEL_PORT = 6379, 26379

# Milliseconds without an answer after which a Sentinel takes a server for down.
DOWN_AFTER = 1000

TIMEOUT = 1.0  # seconds, of a question to a server

# Of every server, also of a Cluster's.
SERVER = """\
port {port}
bind 0.0.0.0
protected-mode no
dir {directory}
appendonly yes
appendfsync always
save ""
repl-diskless-sync-delay 0
repl-timeout 10
repl-ping-replica-period 1
min-replicas-to-write 1
min-replicas-max-lag 2
"""

SENTINEL = """\
port {port}
bind 0.0.0.0
protected-mode no
dir {directory}
sentinel announce-ip {address}
sentinel monitor {name} {primary} {server} {quorum}
sentinel down-after-milliseconds {name} {down_after}
sentinel failover-timeout {name} 5000
sentinel parallel-syncs {name} 8
"""


class SentinelQueue:
    """The servers and the Sentinels."""

    def __init__(self, hosts: Sequence[Host], *, unit: str = "redis", port: int = PORT) -> None:
        """Take the name of the servers' unit and their port; a Sentinel's port is 20,000 above it."""
        self._hosts = hosts
        self._unit = unit
        self._port, self._sentinel_port = port, port + SENTINEL_PORT - PORT
        self.title = (
            f"Redis {version()} under Sentinel, {len(hosts)} servers (appendfsync always, one replica confirms)"
        )
        self.sentinels = ",".join(f"{host.address}:{self._sentinel_port}" for host in hosts)
        self.settings = {"LEADS_REDIS_URL": f"redis+sentinel://{self.sentinels}/{NAME}", "LEADS_REDIS_REPLICAS": "1"}

    def install(self) -> None:
        """Give each host a server and a Sentinel."""
        first = self._hosts[0]
        for host in self._hosts:
            directory = host.disk / self._unit
            directory.mkdir()
            server = SERVER.format(port=self._port, directory=directory)
            server += f"replica-announce-ip {host.address}\n"
            if host is not first:
                server += f"replicaof {first.address} {self._port}\n"
            (directory / "redis.conf").write_text(server)
            (directory / "sentinel.conf").write_text(
                SENTINEL.format(
                    port=self._sentinel_port,
                    directory=directory,
                    address=host.address,
                    name=NAME,
                    primary=first.address,
                    server=self._port,
                    quorum=len(self._hosts) // 2 + 1,
                    down_after=DOWN_AFTER,
                )
            )
            command = program("redis-server", newest=True)
            host.set_unit(self._unit, Unit([command, str(directory / "redis.conf")]))

    def form(self) -> None:
        """Start the Sentinels when the replicas are there, and wait until all have found each other."""
        others = len(self._hosts) - 1
        until(lambda: self._replicas_of(self._hosts[0]) == others, 60, 0.2)
        command = program("redis-server", newest=True)
        for host in self._hosts:
            configuration = host.disk / self._unit / "sentinel.conf"
            host.set_unit(f"{self._unit}-sentinel", Unit([command, str(configuration), "--sentinel"]))
        until(lambda: not self.ill(), 60, 0.2)

    def ill(self) -> str:
        """Return what is not well; "" when every server is there and every replica in sync."""
        return first_ill(map(self._ill_sentinel, self._hosts)) or self._ill_servers()

    def rebalance(self) -> None:
        """Do nothing: the Sentinels do all."""

    def primaries(self) -> list[Host]:
        """Return the host that most Sentinels take for the primary's."""
        known = [found for host in self._hosts if (found := self._primary_by(host))]
        chosen = max(known, key=known.count, default="")
        return [host for host in self._hosts if host.address == chosen]

    def demote(self) -> str:
        """Let the Sentinels promote a replica."""
        for host in self._hosts:
            try:
                self._sentinel(host).execute_command("SENTINEL", "FAILOVER", NAME)
            except redis.RedisError:
                continue
            return f"SENTINEL FAILOVER at {host.name}"
        return "no Sentinel obeyed"

    def client(self) -> redis.Redis:
        """Return a client of the present primary."""
        return redis.Redis(self.primaries()[0].address, self._port, socket_timeout=10)

    def _sentinel(self, host: Host) -> redis.Redis:
        return asked_once(host, self._sentinel_port)

    def _primary_by(self, host: Host) -> str:
        if not host.is_running:
            return ""
        try:
            return str(self._sentinel(host).sentinel_get_master_addr_by_name(NAME)[0])
        except (redis.RedisError, TypeError):
            return ""

    def _ill_sentinel(self, host: Host) -> str:
        try:
            client = self._sentinel(host)
            if client.info("sentinel")["sentinel_tilt"]:
                return f"the Sentinel of {host.name} does not trust its clock (tilt)"
            state = client.sentinel_master(NAME)
        except redis.RedisError as error:
            return f"the Sentinel of {host.name}: {type(error).__name__}"
        others = len(self._hosts) - 1
        if (state["num-other-sentinels"], state["num-slaves"], state["flags"]) != (others, others, "master"):
            return f"the Sentinel of {host.name} sees {state['flags']}, {state['num-slaves']} replicas"
        return ""

    def _ill_servers(self) -> str:
        found = self.primaries()
        if not found:
            return "no primary"
        try:
            state = self._server(found[0]).info("replication")
            if state["role"] != "master" or in_sync(state) != len(self._hosts) - 1:
                return f"{found[0].name} is {state['role']} with {in_sync(state)} replicas in sync"
            if {self._primary_by(host) for host in self._hosts} != {found[0].address}:
                return "the Sentinels disagree on the primary"
        except redis.RedisError as error:
            return f"redis of {found[0].name}: {type(error).__name__}"
        return ""

    def _replicas_of(self, host: Host) -> int:
        try:
            return int(self._server(host).info("replication")["connected_slaves"])
        except redis.RedisError:
            return 0

    def _server(self, host: Host) -> redis.Redis:
        return asked_once(host, self._port)


def asked_once(host: Host, port: int) -> redis.Redis:
    """Return a client that gives up soon."""
    return redis.Redis(
        host.address,
        port,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def in_sync(state: dict[str, Any]) -> int:
    """Return how many replicas of a server are in sync, by its INFO replication."""
    replicas = [value for key, value in state.items() if key.startswith("slave") and isinstance(value, dict)]
    return sum(each["state"] == "online" and int(each["lag"]) <= 1 for each in replicas)


def version() -> str:
    """Return the version number of the Redis that hosts run."""
    said = subprocess.run([program("redis-server", newest=True), "--version"], capture_output=True, text=True)
    return said.stdout.partition("v=")[2].split(" ")[0]
