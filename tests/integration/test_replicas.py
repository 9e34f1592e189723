"""With LEADS_REDIS_REPLICAS a lead is promised only when replicas have it on disk too."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ingest_api.intake.append import AppendRequest, NewLead, Verdict
from ingest_api.intake.group_commit import GroupCommit, QueueUnavailable
from schema.lead.lead_id import new_lead_id
from schema.queue.keys import STREAM
from schema.runtime.redis_clients import async_redis
from schema.settings import Settings
from tests.integration.flushes import with_key
from tests.kit.servers import ValkeyServer, until


class Replica(ValkeyServer):
    """A replica of another server, on a port of its own."""

    def __init__(self, primary_port: int) -> None:
        super().__init__()
        self._primary_port = primary_port

    def command(self) -> list[str]:
        return [*super().command(), "--replicaof", "127.0.0.1", str(self._primary_port)]


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
        client = async_redis(settings, timeout=settings.redis_timeout, connections=1)
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


def test_a_lead_is_accepted_once_a_replica_has_it_on_disk(primary: Primary) -> None:
    # Given a server with a replica that has caught up
    settings = replace(Settings(), redis_url=primary.url, redis_replicas=1, redis_timeout=20.0)
    with Replica(primary.port) as replica:
        until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        before = replica.client().xlen(STREAM)

        # When a lead is appended
        verdict = _append(settings)

        # Then the replica has it
        assert verdict is Verdict.APPENDED
        assert replica.client().xlen(STREAM) == before + 1


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
