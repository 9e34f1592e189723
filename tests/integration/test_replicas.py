"""With LEADS_REDIS_REPLICAS a lead is promised only when replicas have it too."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from ingest_api.intake.append import AppendRequest, NewLead, Verdict
from ingest_api.intake.group_commit import GroupCommit, QueueUnavailable
from ingest_api.intake.replication import check_replicas
from schema.lead.lead_id import new_lead_id
from schema.queue.keys import STREAM
from schema.runtime.redis_clients import async_redis
from schema.settings import Settings, SettingsError
from tests.integration.flushes import with_key
from tests.kit.ports import free_port
from tests.kit.servers import ValkeyServer, until

pytestmark = pytest.mark.hosts


class Replica(ValkeyServer):
    """A replica of another server, on a port of its own."""

    def __init__(self, primary_port: int, *options: str) -> None:
        super().__init__()
        self._primary_port = primary_port
        self._options = options
        self.port = free_port()

    def command(self) -> list[str]:
        listen = ["--port", str(self.port), "--bind", "127.0.0.1"]
        return [*super().command(), *listen, "--replicaof", "127.0.0.1", str(self._primary_port), *self._options]


class Primary(ValkeyServer):
    """A server that replicas can reach."""

    def command(self) -> list[str]:
        listen = ["--port", str(self.port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0"]
        return [*super().command(), *listen]


@pytest.fixture(scope="module")
def primary() -> Iterator[Primary]:
    with Primary() as server:
        yield server


def _append(settings: Settings, request: AppendRequest | None = None) -> Verdict:
    request = request or AppendRequest(leads=(NewLead(new_lead_id(), b"{}"),))

    async def append() -> Verdict:
        client = async_redis(settings.shards[0], settings, connections=1)
        commit = GroupCommit(client, settings, lambda *_: None)
        try:
            return (await commit.submit(request)).verdict
        finally:
            await commit.close()

    return asyncio.run(append())


def test_a_lead_is_refused_when_too_few_replicas_answer(primary: Primary) -> None:
    # Given a server without a replica, where one is asked for
    settings = replace(Settings(), redis_url=primary.url, redis_replicas=1)

    # When a lead is appended, then nothing is promised
    with pytest.raises(QueueUnavailable):
        _append(settings)


@pytest.mark.parametrize(("place", "options"), [("disk", ()), ("memory", ("--appendonly", "no"))])
def test_a_lead_is_accepted_once_a_replica_has_it(primary: Primary, place: str, options: tuple[str, ...]) -> None:
    # Given a server with a replica that has caught up
    settings = replace(Settings(), redis_url=primary.url, redis_replicas=1, redis_replicas_in=place, redis_timeout=20.0)
    with Replica(primary.port, *options) as replica:
        until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        check_replicas(settings)
        before = replica.client().xlen(STREAM)

        # When a lead is appended
        verdict = _append(settings)

        # Then the replica has it
        assert verdict is Verdict.APPENDED
        assert replica.client().xlen(STREAM) == before + 1


@pytest.mark.parametrize("options", [("--appendfsync", "everysec"), ("--appendonly", "no")], ids=lambda each: each[-1])
def test_a_replica_that_syncs_too_late_stops_the_start(primary: Primary, options: tuple[str, ...]) -> None:
    with Replica(primary.port, *options) as replica:
        until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        wanted = replace(Settings(), redis_url=primary.url, redis_replicas=1, redis_timeout=20.0)

        with pytest.raises(SettingsError, match=rf"LEADS_REDIS_REPLICAS_IN: the replica \S+ port {replica.port} "):
            check_replicas(replace(wanted, redis_replicas_in="disk"))
        check_replicas(wanted)


def test_too_few_replicas_and_unlike_priorities_are_warnings(primary: Primary) -> None:
    settings = replace(Settings(), redis_url=primary.url, redis_replicas=2, redis_timeout=20.0)
    with Replica(primary.port) as one, capture_logs() as said:
        until(lambda: one.client().info("replication")["master_link_status"] == "up")
        check_replicas(settings)
        with Replica(primary.port, "--replica-priority", "7") as other:
            until(lambda: other.client().info("replication")["master_link_status"] == "up")
            until(lambda: primary.client().info("replication")["connected_slaves"] == 2)
            check_replicas(settings)

    assert [(each["event"].partition(":")[0], each.get("priorities")) for each in said] == [
        ("too few replicas", None),
        ("replicas differ in replica-priority", [7, 100]),
    ]


def test_a_repeated_request_is_refused_while_no_replica_has_its_lead(primary: Primary) -> None:
    # Given a replica that hangs, and a lead that was refused because of that
    settings = replace(Settings(), redis_url=primary.url, redis_replicas=1)
    with Replica(primary.port) as replica:
        until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        with replica.hanging():
            with pytest.raises(QueueUnavailable):
                _append(settings, with_key("key", b"body"))

            # When it is sent again, then it is not promised either
            with pytest.raises(QueueUnavailable):
                _append(settings, with_key("key", b"body"))
