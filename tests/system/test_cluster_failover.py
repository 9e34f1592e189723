"""The whole service on a Redis Cluster: a primary is lost under load, and nobody starts anything by hand."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import redis

from tests.kit.cluster import PRIMARIES, REPLICAS, ClusterSet, Node
from tests.kit.leads import a_lead
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

# Longest time (seconds) until everything that was accepted is a row, on a busy machine.
STORED_WITHIN = 90.0

# Longest wait (seconds) of the service for a shard, as by default.
REDIS_TIMEOUT = 0.9


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterSet]:
    with ClusterSet() as made:
        yield made


@pytest.fixture(scope="module")
def sharded(cluster: ClusterSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose queue has three shards, with a broker of its own."""
    settings: dict[str, Any] = {
        "redis_url": cluster.url,
        "queue_shards": PRIMARIES,
        "redis_replicas": 1,
        "redis_timeout": REDIS_TIMEOUT,
        "claim_after": 2,
        "sweep_interval": 1,
    }
    with RedisServer() as broker:
        directory = tmp_path_factory.mktemp("cluster")
        with Service(directory, broker_url=broker.url, **settings) as service:
            yield service


@dataclass
class Seen:
    """What a client saw of one kind of request: the moments of its 202s, and the ids."""

    ids: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # statuses and errors

    @property
    def gap(self) -> float:
        """The longest time (seconds) between two 202s."""
        return max((after - before for before, after in zip(self.moments, self.moments[1:], strict=False)), default=0.0)


async def send(http: httpx.AsyncClient, seen: Seen, *, keyed: bool, ends: asyncio.Event, phone: str) -> None:
    """Send leads until `ends`; those with a key again until they are answered with 202."""
    while not ends.is_set():
        headers = {"Idempotency-Key": uuid.uuid4().hex} if keyed else {}
        lead = a_lead(phone=phone)
        while not ends.is_set():
            try:
                answer = await http.post("/api/leads", json=lead, headers=headers)
            except httpx.HTTPError as error:
                seen.others.append(type(error).__name__)
            else:
                if answer.status_code == 202:
                    seen.ids.append(answer.json()["data"]["id"])
                    seen.moments.append(time.monotonic())
                    break
                seen.others.append(str(answer.status_code))
            await asyncio.sleep(0.05)
            if not keyed:
                break
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "trouble",
    [pytest.param(Node.kill, id="killed"), pytest.param(Node.hang, id="hung", marks=pytest.mark.extended)],
)
def test_a_lost_primary_costs_its_own_keys_some_503_and_no_lead(
    sharded: Service,
    cluster: ClusterSet,
    trouble: Callable[[Node], None],
    record_property: Callable[[str, object], None],
):
    # Given load with and without keys, and the processes that are there
    cluster.wait_until_whole()
    phone = f"+4450{len(trouble.__name__)}"
    before = {name: sharded.one(name).pid for name in ("api", "worker", "beat", "flower")}
    slot = 16384 // 2
    lost = cluster.primary_of(slot)
    seen = {"with": Seen(), "without": Seen()}

    async def run() -> None:
        ends = asyncio.Event()
        async with httpx.AsyncClient(base_url=sharded.base_url, headers=sharded.headers(), timeout=10) as http:
            senders = [
                asyncio.create_task(send(http, seen[name], keyed=name == "with", ends=ends, phone=phone))
                for name in ("with", "without")
                for _ in range(4)
            ]
            await asyncio.sleep(2)
            # When the primary of a shard is lost in the middle
            await asyncio.to_thread(trouble, lost)
            await asyncio.to_thread(cluster.wait_for_another, lost, slot)
            await asyncio.sleep(3)
            ends.set()
            await asyncio.gather(*senders)

    asyncio.run(run())

    # Then nothing but a 503 was answered meanwhile, and leads without a key were taken all the time
    for name, each in seen.items():
        record_property(f"seconds without a 202 at most, {name} keys", round(each.gap, 2))
        assert set(each.others) <= {"503"}
    assert seen["without"].gap < 2 * REDIS_TIMEOUT + 5.0  # far below the time until a new primary on a busy machine
    # And each accepted lead is stored once, by the same processes
    promised = {lead for each in seen.values() for lead in each.ids}

    def stored() -> list[str] | None:
        found = [each["id"] for each in sharded.walk(phone=phone)]
        return found if promised <= set(found) else None

    found = until(stored, STORED_WITHIN, 0.2)
    assert len(found) == len(set(found))
    assert {name: sharded.one(name).pid for name in before} == before
    # And the ledger balances, once the lost server is back
    if trouble is Node.hang:
        lost.resume()
    else:
        lost.start()
    cluster.wait_until_whole()
    sharded.wait_until_nothing_waits(60)
    assert sharded.balance().startswith("Balanced")


def test_a_hundred_equal_requests_at_once_are_one_lead_while_a_primary_is_lost(sharded: Service, cluster: ClusterSet):
    # Given a client that sends a lead a hundred times at once, and again until each is answered with 202
    cluster.wait_until_whole()
    slot = 16384 // 2
    lost = cluster.primary_of(slot)
    phone = "+445071234567"
    answered: dict[str, list[str]] = {}

    async def post(http: httpx.AsyncClient, lead: dict[str, Any], key: str) -> str:
        while True:
            try:
                answer = await http.post("/api/leads", json=lead, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                continue
            if answer.status_code == 202:
                return str(answer.json()["data"]["id"])
            assert answer.status_code == 503
            await asyncio.sleep(0.2)

    async def send_equal_ones(http: httpx.AsyncClient, ends: asyncio.Event) -> None:
        while not ends.is_set():
            key, lead = uuid.uuid4().hex, a_lead(phone=phone)
            answered[key] = await asyncio.gather(*(post(http, lead, key) for _ in range(100)))

    async def run() -> None:
        ends = asyncio.Event()
        # Keys of all shards at once
        limits = httpx.Limits(max_connections=4 * 100)
        async with httpx.AsyncClient(
            base_url=sharded.base_url, headers=sharded.headers(), timeout=30, limits=limits
        ) as http:
            sending = [asyncio.create_task(send_equal_ones(http, ends)) for _ in range(4)]
            await asyncio.sleep(1)
            # When the primary of a shard is lost in the middle
            await asyncio.to_thread(lost.kill)
            await asyncio.to_thread(cluster.wait_for_another, lost, slot)
            await asyncio.sleep(1)
            ends.set()
            await asyncio.gather(*sending)

    asyncio.run(run())
    lost.start()

    # Then each key has one lead, and each lead is one row
    assert [len(set(each)) for each in answered.values()] == [1] * len(answered)
    sharded.wait_until_nothing_waits(60)
    assert sorted(each["id"] for each in sharded.walk(phone=phone)) == sorted(each[0] for each in answered.values())
    cluster.wait_until_whole()


def test_health_names_the_primary_of_each_shard(sharded: Service, cluster: ClusterSet):
    cluster.wait_until_whole()

    found = sharded.ready().json()["data"]["servers"]["queue"]

    assert [each["shard"] for each in found] == list(range(PRIMARIES))
    ports = {f"127.0.0.1:{each.port}" for each in cluster.nodes if each.is_primary()}
    assert {each["primary"] for each in found} == ports
    assert all(len(each["replicas"]) == REPLICAS for each in found)


def test_a_key_and_an_id_find_their_lead_in_any_shard(sharded: Service):
    # Given leads with keys of all shards
    leads = [a_lead() for _ in range(12)]
    ids = [sharded.post("/api/leads", lead, Idempotency_Key=lead["email"]).json()["data"]["id"] for lead in leads]

    # Then each is found from its 202 on, and its key gives it again
    assert [sharded.lead(each)["id"] for each in ids] == ids
    again = [sharded.post("/api/leads", lead, Idempotency_Key=lead["email"]).json()["data"]["id"] for lead in leads]
    assert again == ids
    other = sharded.post("/api/leads", a_lead(), Idempotency_Key=leads[0]["email"])
    assert other.status_code == 409
    # And the statistics know all
    sharded.wait_until_stored(*ids)
    assert sharded.balance().startswith("Balanced")


def test_the_broker_may_lose_everything(sharded: Service):
    # Given a broker that forgets all tickets
    with redis.Redis.from_url(str(sharded.settings["broker_url"])) as broker:
        broker.flushall()

    # Then leads are stored all the same
    ids = sharded.accept(*(a_lead() for _ in range(20)))
    sharded.wait_until_stored(*ids, within=60)
