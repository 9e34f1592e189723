"""Redis Cluster: on each host a primary and replicas of other hosts'; the tickets' own Redis is under Sentinel."""

from collections.abc import Sequence

import redis

from loadtests.hosts.sentinel_queue import SERVER, SentinelQueue, asked_once, in_sync, version
from tests.kit.hosts import Host, Unit
from tests.kit.servers import program, until

# Ports of each host's first server, and of the tickets' Redis.
FIRST, TICKETS = 7001, 6381

# Milliseconds without an answer after which the others take a server for down.
NODE_TIMEOUT = 2000

SLOTS = 16384

CLUSTER = """\
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout {timeout}
cluster-require-full-coverage no
cluster-allow-replica-migration no
cluster-announce-ip {address}
"""


class ClusterQueue:
    """The servers: as many primaries as hosts, each with its replicas on other hosts."""

    def __init__(self, hosts: Sequence[Host], *, replicas: int) -> None:
        """Take the number of replicas of each primary."""
        self._hosts = hosts
        self._replicas = replicas
        self._ports = range(FIRST, FIRST + replicas + 1)
        self._servers = [(host, port) for host in hosts for port in self._ports]
        self._tickets = SentinelQueue(hosts, unit="tickets", port=TICKETS)
        self.put_back = 0
        self.title = (
            f"Redis {version()} Cluster of {len(hosts)} primaries with {replicas} replicas each "
            "(appendfsync always, one replica confirms), tickets under Sentinel"
        )
        self.settings = {
            "LEADS_REDIS_URL": "redis+cluster://" + ",".join(f"{host.address}:{FIRST}" for host in hosts),
            "LEADS_QUEUE_SHARDS": str(len(hosts)),
            "LEADS_REDIS_REPLICAS": "1",
            "LEADS_BROKER_URL": self._tickets.settings["LEADS_REDIS_URL"],
        }

    def install(self) -> None:
        """Give each host its servers."""
        self._tickets.install()
        command = program("redis-server", newest=True)
        for host, port in self._servers:
            directory = host.disk / f"redis-{port}"
            directory.mkdir()
            configuration = SERVER.format(port=port, directory=directory)
            configuration += CLUSTER.format(address=host.address, timeout=NODE_TIMEOUT)
            (directory / "redis.conf").write_text(configuration)
            host.set_unit(f"redis-{port}", Unit([command, str(directory / "redis.conf")]))

    def form(self) -> None:
        """Let the servers meet, spread the slots, and give each primary its replicas."""
        self._tickets.form()
        until(lambda: all(self._answers(*each) for each in self._servers), 30, 0.2)
        number = len(self._hosts)
        for each, host in enumerate(self._hosts):
            begin, end = SLOTS * each // number, SLOTS * (each + 1) // number - 1
            server = asked_once(host, FIRST)
            server.execute_command("CLUSTER", "SET-CONFIG-EPOCH", each + 1)
            server.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end)
        for host, port in self._servers[1:]:
            asked_once(self._hosts[0], FIRST).execute_command("CLUSTER", "MEET", host.address, port)
        until(lambda: all(self._knows_all(*each) for each in self._servers), 30, 0.2)
        for each, host in enumerate(self._hosts):
            for distance, port in enumerate(self._ports):
                if distance:
                    primary = asked_once(self._hosts[each - distance], FIRST).execute_command("CLUSTER", "MYID")
                    asked_once(host, port).execute_command("CLUSTER", "REPLICATE", primary)
        until(lambda: not self.ill(), 60, 0.2)

    def ill(self) -> str:
        """Return what is not well; "" when every primary has its replicas in sync, and each host one primary."""
        primaries = []
        for host, port in self._servers:
            name = f"redis {port} of {host.name}"
            try:
                server = asked_once(host, port)
                state = server.info("replication")
                cluster = server.execute_command("CLUSTER INFO")["cluster_state"]
            except redis.RedisError as error:
                return f"{name}: {type(error).__name__}"
            if cluster != "ok":
                return f"{name} sees a cluster that is down"
            if state["role"] == "master":
                primaries.append(host)
                if in_sync(state) != self._replicas:
                    return f"{name} has {in_sync(state)} replicas in sync"
            elif state["master_link_status"] != "up":
                return f"{name} has no link to its primary"
        if len(set(primaries)) != len(self._hosts):
            return f"primaries are on {', '.join(host.name for host in primaries)}"
        return self._tickets.ill()

    def rebalance(self) -> None:
        """Give a host without a primary one back, as an operator or his controller does.

        A failover leaves two primaries on one host, and without that one the others are no majority.
        """
        primaries = self.primaries()
        for host in set(self._hosts) - set(primaries):
            for port in self._ports:
                try:
                    server = asked_once(host, port)
                    state = server.info("replication")
                    elsewhere = [each for each in primaries if each.address == state.get("master_host")]
                    if state.get("master_link_status") == "up" and len(elsewhere) > 1:
                        server.execute_command("CLUSTER", "FAILOVER")
                        self.put_back += 1
                        return
                except redis.RedisError:
                    continue

    def primaries(self) -> list[Host]:
        """Return the host of each primary."""
        found: list[Host] = []
        for host, port in self._servers:
            try:
                if host.is_running and asked_once(host, port).role()[0] == "master":
                    found.append(host)
            except redis.RedisError:
                continue
        return found

    def demote(self) -> str:
        """Let one replica take its primary's place."""
        for host, port in self._servers:
            try:
                server = asked_once(host, port)
                if server.role()[0] == "slave":
                    server.execute_command("CLUSTER", "FAILOVER")
                    return f"CLUSTER FAILOVER at {host.name}"
            except redis.RedisError:
                continue
        return "no replica obeyed"

    def _answers(self, host: Host, port: int) -> bool:
        try:
            return bool(asked_once(host, port).ping())
        except redis.RedisError:
            return False

    def _knows_all(self, host: Host, port: int) -> bool:
        cluster = asked_once(host, port).execute_command("CLUSTER INFO")
        return int(cluster["cluster_known_nodes"]) == len(self._servers) and cluster["cluster_state"] == "ok"
