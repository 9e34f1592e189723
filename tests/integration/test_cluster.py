"""The queue in shards over a Redis Cluster: every client finds its shard, and a 202 is never taken back."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from ingest_api.intake.append import AppendRequest, NewLead, Verdict
from ingest_api.intake.group_commit import QueueUnavailable
from ingest_api.intake.probe import append_probe
from ingest_api.intake.replication import check_replicas
from ingest_api.intake.shard_router import SHARD_TURN, ShardRouter
from ingest_api.reads.queue_reader import QueueReader
from schema.lead.lead_id import LeadId, new_lead_id
from schema.queue.keys import IDEMPOTENCY_PREFIX, INDEX, RATE_PREFIX, STREAM
from schema.runtime.redis_clients import async_shards, blocking_shards
from schema.settings import Settings
from schema.settings.shards import home_of
from tests.kit.cluster import PRIMARIES, ClusterSet, Node
from tests.kit.servers import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterSet]:
    with ClusterSet() as made:
        yield made


@pytest.fixture
def settings(cluster: ClusterSet, tmp_path: Path) -> Settings:
    cluster.wait_until_whole()
    settings = Settings(
        data_dir=tmp_path,
        redis_url=cluster.url,
        queue_shards=PRIMARIES,
        redis_replicas=1,
        redis_timeout=2.0,
        broker_url="redis://127.0.0.1:1",
    )
    for shard, client in blocking_shards(settings, timeout=10):
        for key in client.scan_iter(match="leads:*"):
            client.delete(key)
        assert client.xlen(shard.name(STREAM)) == 0
        client.close()
    return settings


def router_of(settings: Settings) -> ShardRouter:
    return ShardRouter(async_shards(settings, connections=1), settings, lambda *_: None)


def a_request(**changes: object) -> AppendRequest:
    return AppendRequest(leads=(NewLead(new_lead_id(), b"{}"),))._replace(**changes)


def key_at(shard: int) -> str:
    """Return the name of an idempotency key whose home is a shard."""
    return next(
        name for number in range(10_000) if home_of(name := IDEMPOTENCY_PREFIX + f"{number:064x}", PRIMARIES) == shard
    )


def test_each_shard_is_on_a_primary_of_its_own(cluster: ClusterSet, settings: Settings):
    append_probe(settings, 0)
    check_replicas(settings)

    assert len({cluster.primary_of(shard.slot).port for shard in settings.shards}) == PRIMARIES


def test_leads_without_a_limit_share_a_shard_s_flushes_and_are_spread_over_time(settings: Settings):
    # When leads come in without a client's limit, thirty at once and then others for some turns
    async def append() -> tuple[list[LeadId], list[LeadId]]:
        router = router_of(settings)
        reader = QueueReader(async_shards(settings, connections=2))
        ends = time.monotonic() + 2 * PRIMARIES * SHARD_TURN
        requests = [a_request() for _ in range(30)]
        results = await asyncio.gather(*map(router.submit, requests))
        while time.monotonic() < ends:
            requests.append(a_request())
            results.append(await router.submit(requests[-1]))
        assert {each.verdict for each in results} == {Verdict.APPENDED}
        ids = [request.leads[0].id for request in requests]
        # Then each is found
        assert [await reader.find(each) for each in ids] == [b"{}"] * len(ids)
        assert await reader.find(new_lead_id()) is None
        await router.close()
        await reader.close()
        return ids[:30], ids

    together, ids = asyncio.run(append())

    # And those that came at once are in one shard, or in two where its turn ended, and in the end every shard has some
    shards = blocking_shards(settings, timeout=10)
    found = [set(client.hkeys(shard.name(INDEX))) for shard, client in shards]
    assert sum(not each.isdisjoint(together) for each in found) <= 2
    assert all(found)
    assert sum(map(len, found)) == len(set.union(*found)) == len(ids)
    assert set.union(*found) == set(ids)


def test_a_hundred_equal_keys_are_one_lead(settings: Settings):
    async def append() -> set[LeadId]:
        routers = [router_of(settings) for _ in range(4)]
        request = a_request(key=key_at(1), digest=bytes(32), key_absent_in_database=True, rate_key=f"{RATE_PREFIX}a")
        requests = [request._replace(leads=(NewLead(new_lead_id(), b"{}"),)) for _ in range(100)]
        results = await asyncio.gather(*(routers[number % 4].submit(each) for number, each in enumerate(requests)))
        for each in routers:
            await each.close()
        appended = [
            request.leads[0].id
            for request, result in zip(requests, results, strict=True)
            if result.verdict is Verdict.APPENDED
        ]
        known = {each.id for each in results if each.verdict is Verdict.DUPLICATE}
        return {*appended, *known}

    assert len(asyncio.run(append())) == 1


def test_the_rate_limit_counts_over_all_shards(settings: Settings):
    # Given a client with a limit, whose leads have keys of every shard
    limited = replace(settings, rate_limit=6, redis_timeout=10.0)

    async def append() -> list[tuple[Verdict, int]]:
        router = router_of(limited)
        keys = [key_at(number % PRIMARIES)[:-2] + f"{number:02}" for number in range(8)]
        results = []
        for key in keys:
            request = a_request(rate_key=f"{RATE_PREFIX}10.0.0.1", key=key, key_absent_in_database=True)
            results.append(await router.submit(request))
        await router.close()
        return [(each.verdict, each.used) for each in results]

    # Then it has six requests, and the others are refused
    found = asyncio.run(append())
    assert [used for _, used in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [verdict for verdict, _ in found] == [Verdict.APPENDED] * 6 + [Verdict.RATE_LIMITED] * 2


def test_the_most_waiting_counts_over_all_shards(settings: Settings):
    small = replace(settings, queue_max=20, redis_timeout=10.0)

    async def append() -> list[Verdict]:
        router = router_of(small)
        results = [(await router.submit(a_request())).verdict for _ in range(25)]
        await router.close()
        return results

    assert asyncio.run(append()) == [Verdict.APPENDED] * 20 + [Verdict.FULL] * 5


@pytest.mark.parametrize("trouble", [Node.kill, Node.hang], ids=["killed", "hung"])
def test_a_lost_primary_is_noticed_by_its_own_keys_alone(
    cluster: ClusterSet, settings: Settings, trouble, record_property
):
    # Given leads with keys of each shard, and leads without
    lost_shard = settings.shards[0]
    lost = cluster.primary_of(lost_shard.slot)
    promised: list[LeadId] = []
    taken: Counter[str] = Counter()
    refused: dict[str, list[float]] = {"without key": [], "other": [], "own": []}

    async def send(router: ShardRouter, name: str, key: str, ends: asyncio.Event) -> None:
        number = 0
        loop = asyncio.get_running_loop()
        while not ends.is_set():
            number += 1
            request = a_request(key=key and f"{key[:-8]}{number:08}", key_absent_in_database=bool(key))
            if key and home_of(request.key, PRIMARIES) != home_of(key, PRIMARIES):
                continue
            try:
                result = await router.submit(request)
            except QueueUnavailable:
                refused[name].append(loop.time())
            else:
                assert result.verdict is Verdict.APPENDED
                promised.append(request.leads[0].id)
                taken[name] += 1
            await asyncio.sleep(0.01)

    async def run() -> None:
        router = router_of(settings)
        router.start()
        ends = asyncio.Event()
        senders = [
            asyncio.create_task(send(router, *each, ends))
            for each in (("without key", ""), ("other", key_at(1)), ("other", key_at(2)), ("own", key_at(0)))
        ]
        await asyncio.sleep(0.5)
        # When the primary of the first shard is lost
        await asyncio.to_thread(trouble, lost)
        await asyncio.to_thread(cluster.wait_for_another, lost, lost_shard.slot)
        before = taken["own"]
        # Then its keys are taken again without anybody's help
        async with asyncio.timeout(30):
            while taken["own"] == before:
                await asyncio.sleep(0.1)
        ends.set()
        await asyncio.gather(*senders)
        await router.close()

    try:
        asyncio.run(run())
    finally:
        if trouble is Node.hang:
            lost.resume()
        else:
            lost.start()
    cluster.wait_until_whole()

    # And the others were refused only what was under way
    spans = {name: max(times, default=0.0) - min(times, default=0.0) for name, times in refused.items()}
    record_property("seconds of refusals", spans)
    assert refused["own"]
    assert refused["other"] == []
    assert spans["without key"] < settings.redis_timeout
    # And everything that was promised is there
    found = set()
    for shard, client in blocking_shards(settings, timeout=10):
        found |= set(client.hkeys(shard.name(INDEX)))
    assert set(promised) <= found


def test_a_blocking_client_follows_its_slot(cluster: ClusterSet, settings: Settings):
    # Given a client with an open connection
    shard, client = blocking_shards(settings, timeout=2)[1]
    client.xadd(shard.name(STREAM), {"lead": b"{}"})
    former = cluster.primary_of(shard.slot)

    # When its replica takes over by an operator's command
    replica = next(
        each for each in cluster.nodes if f"{former.id}" in str(each.cluster("NODES")) and _follows(each, former)
    )
    replica.cluster("FAILOVER")
    new = cluster.wait_for_another(former, shard.slot)

    # Then it writes there
    def written() -> bool:
        try:
            client.xadd(shard.name(STREAM), {"lead": b"{}"})
        except RedisError:
            return False
        return True

    until(written, 20, 0.05)
    assert new.client().xlen(shard.name(STREAM)) == 2
    cluster.wait_until_whole()


def _follows(node: Node, primary: Node) -> bool:
    role = node.client().role()
    return bool(role[0] == b"slave" and role[2] == primary.port)
