"""The queue moves from one shard to three and back, while leads come in: `python -m schema queue reshard`."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.cluster import PRIMARIES, ClusterSet
from tests.kit.leads import a_lead
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.extended]

DEAD = "leads:dead"


@pytest.fixture(scope="module")
def queue() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def service_on(queue: RedisServer, directory: Path, **settings: Any) -> Service:
    return Service(directory, redis_url=queue.url, claim_after=2, sweep_interval=1, **settings)


async def send(http: httpx.AsyncClient, keys: dict[str, str], sent: set[str], ends: asyncio.Event) -> None:
    """Send leads with keys, each twice, and without; `keys` gets the id of each key."""
    while not ends.is_set():
        key, lead = uuid.uuid4().hex, a_lead()
        for headers in ({"Idempotency-Key": key}, {"Idempotency-Key": key}, {}):
            answer = await http.post("/api/leads", json=lead, headers=headers)
            assert answer.status_code == 202, answer.text
            found = answer.json()["data"]["id"]
            sent.add(found)
            if headers:
                assert keys.setdefault(key, found) == found
        again = await http.get(f"/api/leads/{found}")
        assert again.status_code == 200
        await asyncio.sleep(0.1)


def move_under_load(service: Service) -> tuple[dict[str, str], set[str]]:
    """Reshard while leads come in; return the ids by key, and all ids."""
    keys: dict[str, str] = {}
    sent: set[str] = set()

    async def run() -> None:
        ends = asyncio.Event()
        async with httpx.AsyncClient(base_url=service.base_url, headers=service.headers(), timeout=20) as http:
            senders = [asyncio.create_task(send(http, keys, sent, ends)) for _ in range(4)]
            await asyncio.sleep(1)
            done = await asyncio.to_thread(service.run, "schema", "queue", "reshard", timeout=120)
            assert done.returncode == 0, done.stderr
            assert "Moved: nothing waits" in done.stdout
            await asyncio.sleep(1)
            ends.set()
            await asyncio.gather(*senders)

    asyncio.run(run())
    return keys, sent


def assert_all_stored_once(service: Service, sent: set[str]) -> None:
    until(lambda: sent <= {each["id"] for each in service.walk()}, 60, 0.3)
    found = [each["id"] for each in service.walk()]
    assert len(found) == len(set(found))


def test_a_queue_moves_to_three_shards_and_back_under_load(queue: RedisServer, tmp_path: Path):
    client = queue.client()
    # Given a service that knows where the queue will be, and a dead letter
    with service_on(queue, tmp_path, queue_next_shards=3) as service:
        client.xadd(DEAD, {"reason": "by hand", "lead": f'{{"id":"{uuid.uuid4()}"}}'})
        # When the queue moves under load
        keys, sent = move_under_load(service)
        # Then nothing was refused, nothing is lost and no key was used twice
        assert_all_stored_once(service, sent)
        assert client.xlen("leads:stream") == 0
        assert client.xlen(DEAD) == 0
        assert service.ledger()["dead"] == 1
        assert service.ledger()["imbalance"] == -1  # the dead letter's lead was never accepted

    # And the service goes on without the old queue: keys from before are known
    with service_on(queue, tmp_path, queue_shards=3) as service:
        some = list(keys)[:5]
        lead = a_lead()
        for key in some:
            answer = service.post("/api/leads", lead, Idempotency_Key=key)
            assert answer.status_code == 409, "the key came with another lead before"
        assert service.ledger()["imbalance"] == -1
        service.stop()

    # When it moves back
    with service_on(queue, tmp_path, queue_shards=3, queue_next_shards=1) as service:
        more_keys, more = move_under_load(service)
        assert_all_stored_once(service, sent | more)
        assert client.xlen(DEAD) == 1
        assert service.ledger()["imbalance"] == -1
        service.stop()

    # Then it is as it was
    with service_on(queue, tmp_path) as service:
        for key in list(more_keys)[:5]:
            assert service.post("/api/leads", a_lead(), Idempotency_Key=key).status_code == 409
        new = service.accept(a_lead())
        service.wait_until_stored(*new)
        assert service.ledger()["imbalance"] == -1
        assert len(service.run("workers", "dead-letters", "list").stdout.splitlines()) == 1


def test_without_a_next_queue_the_command_says_so(queue: RedisServer, tmp_path: Path):
    done = service_on(queue, tmp_path).run("schema", "queue", "reshard")

    assert done.returncode == 1
    assert "LEADS_QUEUE_NEXT_SHARDS names no queue to move to" in done.stderr


@pytest.mark.extended
def test_a_queue_moves_from_one_redis_to_a_cluster(tmp_path: Path):
    with RedisServer() as old, RedisServer() as broker, ClusterSet() as cluster:
        # Given a service on one Redis that knows of the Cluster, with the broker of later
        following = {"queue_next_url": cluster.url, "queue_next_shards": PRIMARIES, "broker_url": broker.url}
        with service_on(old, tmp_path, **following) as service:
            # When the queue moves under load, then nothing is lost
            keys, sent = move_under_load(service)
            assert_all_stored_once(service, sent)
            assert service.balance().startswith("Balanced")
            service.stop()

        # And the service goes on without the old Redis
        old.kill()
        settings = {"redis_url": cluster.url, "queue_shards": PRIMARIES, "broker_url": broker.url, "redis_replicas": 1}
        with Service(tmp_path, **settings) as service:
            assert service.post("/api/leads", a_lead(), Idempotency_Key=next(iter(keys))).status_code == 409
            service.wait_until_stored(*service.accept(a_lead()))
            assert service.balance().startswith("Balanced")
