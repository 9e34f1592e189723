"""Redis under Sentinel: every client follows the primary by itself, and a 202 is never taken back."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from redis.exceptions import RedisError

from ingest_api.intake.append import AppendRequest, NewLead, Verdict
from ingest_api.intake.group_commit import GroupCommit, QueueUnavailable
from ingest_api.intake.replication import check_replicas
from ingest_api.reads.queue_reader import QueueReader
from schema.lead.lead_id import LeadId, new_lead_id
from schema.queue.keys import STREAM
from schema.runtime.redis_clients import async_redis, async_shards, blocking_redis
from schema.settings import Settings
from tests.kit.sentinels import Replica, SentinelSet
from tests.kit.servers import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]


@pytest.fixture
def sentinels() -> Iterator[SentinelSet]:
    with SentinelSet() as made:
        yield made


def settings_of(sentinels: SentinelSet, **changes: object) -> Settings:
    return replace(Settings(), redis_url=sentinels.url, redis_timeout=2.0, **changes)


def kill(primary: Replica) -> None:
    primary.kill()


def hang(primary: Replica) -> None:
    primary.hang()


def test_no_sentinel_is_forgotten_when_many_connections_ask_at_once(sentinels: SentinelSet):
    # Given a first Sentinel that does not answer
    settings = settings_of(sentinels)
    sentinels.sentinels[0].kill()

    async def ask() -> set[int]:
        client = async_redis(settings.shards[0], settings, connections=8)
        await asyncio.gather(*(client.ping() for _ in range(8)))
        manager = client.connection_pool.sentinel_manager
        known = {each.connection_pool.connection_kwargs["port"] for each in manager.sentinels}
        await client.aclose()
        return known

    # Then all are known afterwards
    assert asyncio.run(ask()) == {each.port for each in sentinels.sentinels}


def test_the_loss_of_a_replica_costs_no_503(sentinels: SentinelSet):
    # Given a primary whose replicas are known from an earlier flush
    settings = settings_of(sentinels, redis_replicas=1)
    replica = next(each for each in sentinels.servers if each is not sentinels.primary)

    async def append() -> list[Verdict]:
        shard = settings.shards[0]
        commit = GroupCommit(async_redis(shard, settings, connections=1), settings, lambda *_: None, shard)
        found = [(await commit.submit(AppendRequest(leads=(NewLead(new_lead_id(), b"{}"),)))).verdict]
        # When one of them is lost
        await asyncio.to_thread(replica.kill)
        await asyncio.to_thread(until, lambda: sentinels.primary.client().info("replication")["connected_slaves"] == 1)
        found.append((await commit.submit(AppendRequest(leads=(NewLead(new_lead_id(), b"{}"),)))).verdict)
        await commit.close()
        return found

    # Then the other one confirms
    assert asyncio.run(append()) == [Verdict.APPENDED] * 2


@pytest.mark.parametrize("trouble", [kill, hang], ids=["killed", "hung"])
def test_no_confirmed_lead_is_lost_with_its_primary(sentinels: SentinelSet, trouble):
    # Given leads that one replica has each
    settings = settings_of(sentinels, redis_replicas=1)
    check_replicas(settings)
    first = sentinels.primary

    async def append_through() -> tuple[list[LeadId], int]:
        client = async_redis(settings.shards[0], settings, connections=1)
        commit = GroupCommit(client, settings, lambda *_: None)
        promised: list[LeadId] = []
        refused = 0
        while len(promised) < 200:
            lead = new_lead_id()
            try:
                result = await commit.submit(AppendRequest(leads=(NewLead(lead, b"{}"),)))
            except QueueUnavailable:
                refused += 1
                await asyncio.sleep(0.05)
                continue
            assert result.verdict is Verdict.APPENDED
            promised.append(lead)
            # When the primary is lost in the middle
            if len(promised) == 100:
                trouble(first)
        await commit.close()
        return promised, refused

    promised, refused = asyncio.run(asyncio.wait_for(append_through(), 60))

    # Then it was refused for a while, and what was promised is at the new one
    assert refused > 0
    second = sentinels.wait_for_another(first)
    assert set(promised) <= set(second.client().hkeys("leads:index"))


def test_a_blocking_client_follows_a_demoted_primary(sentinels: SentinelSet):
    # Given a client with an open connection
    client = blocking_redis(settings_of(sentinels).shards[0], timeout=2.0)
    client.xadd(STREAM, {"lead": b"{}"})
    first = sentinels.primary

    # When the primary is demoted by hand, and lives on
    until(lambda: sentinels.sentinels[0].client().execute_command("SENTINEL", "FAILOVER", "leads"), 30, 0.5)
    second = sentinels.wait_for_another(first)

    def written() -> bool:
        try:
            client.xadd(STREAM, {"lead": b"{}"})
        except RedisError:
            return False
        return True

    # Then it writes to the new one without anybody's help; what the old one took meanwhile nobody waited for
    before = second.client().xlen(STREAM)
    until(lambda: written() and second.client().xlen(STREAM) > before, 20, 0.05)
    client.close()


def test_reads_wait_for_a_connection_and_follow(sentinels: SentinelSet):
    # Given more readers than connections
    async def read_through() -> None:
        settings = replace(settings_of(sentinels), redis_timeout=5.0)
        reader = QueueReader(async_shards(settings, connections=2))

        lead = new_lead_id()

        async def all_answered() -> bool:
            answers = await asyncio.gather(*(reader.find(lead) for _ in range(20)), return_exceptions=True)
            return not any(isinstance(each, RedisError) for each in answers)

        assert await all_answered()
        first = sentinels.primary
        await asyncio.to_thread(first.kill)
        await asyncio.to_thread(sentinels.wait_for_another, first)
        async with asyncio.timeout(30):
            while not await all_answered():
                await asyncio.sleep(0.05)
        await reader.close()

    asyncio.run(read_through())
