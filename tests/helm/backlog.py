"""Leads that wait in Redis, put there as the API does it, and who asks how many they are."""

import asyncio
import json
import subprocess
from typing import Any, NamedTuple

import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from ingest_api.intake.append import AppendRequest, NewLead, Verdict
from ingest_api.intake.group_commit import GroupCommit
from schema.lead import codec
from schema.lead.lead_id import new_lead_id
from schema.queue.entries import id_of
from schema.runtime.redis_clients import ShardClient, async_shards
from schema.settings import Settings
from tests.helm import chart
from tests.kit import accounts
from tests.kit.kubernetes import tool
from tests.kit.leads import a_lead
from workers.store.consumer import Consumer

# Leads of one request, and requests under way at the same time.
BULK = 1000
TOGETHER = 5

PASSWORD = "a.password-123"
SECRETS = dict.fromkeys(accounts.SECRETS, PASSWORD)


class Answer(NamedTuple):
    """What a scaler says of one trigger."""

    backlog: int
    active: bool
    target: int


class NoAnswer(Exception):
    """The scaler failed; the message is its own."""


def make_users(client: redis.Redis) -> None:
    """Make the users of the production form, all with PASSWORD."""
    accounts.make_redis_users(client, SECRETS)


def triggers(**redis_values: Any) -> list[dict[str, Any]]:
    """Return the triggers that the chart makes for a Redis, each with the password that KEDA reads from the Secret."""
    hosts = redis_values.pop("hosts")
    values = {f"redis.{name}": value for name, value in redis_values.items()}
    values |= {f"redis.hosts[{number}]": host for number, host in enumerate(hosts)}
    if redis_values.get("form") == "cluster":
        values |= {"broker.hosts[0]": "broker:6379", "broker.existingSecret": "leads-broker"}
    arguments = chart.given({**chart.SECRETS, "worker.autoscaler": "keda", **values})
    spec = chart.find(chart.manifests(chart.template(*arguments)), "ScaledObject", "-worker")["spec"]
    return [{**each, "auth": {"password": PASSWORD}} for each in spec["triggers"]]


def ask_keda(trigger: dict[str, Any]) -> Answer:
    """Ask with KEDA's own scaler. Raises NoAnswer."""
    asked = {name: trigger[name] for name in ("type", "metadata", "auth")}
    done = subprocess.run(
        [tool("keda-redis")], input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise NoAnswer(done.stderr)
    return Answer(**json.loads(done.stdout))


def ask_redis(trigger: dict[str, Any]) -> Answer:
    """Ask as that scaler does: the length of the stream, with what the trigger names and nothing else."""
    metadata = trigger["metadata"]
    login = {"username": metadata["username"], "password": trigger["auth"]["password"]}
    client: Any
    if trigger["type"] == "redis-streams":
        host, port = _address(metadata["address"])
        client = redis.Redis(host=host, port=port, db=int(metadata["databaseIndex"]), **login)
    elif trigger["type"] == "redis-sentinel-streams":
        sentinels = [_address(each) for each in metadata["addresses"].split(",")]
        client = Sentinel(sentinels).master_for(metadata["sentinelMaster"], **login)
    else:
        nodes = [ClusterNode(*_address(each)) for each in metadata["addresses"].split(",")]
        client = RedisCluster(startup_nodes=nodes, **login)
    try:
        backlog = int(client.xlen(metadata["stream"]))
    except redis.RedisError as error:
        raise NoAnswer(str(error)) from None
    finally:
        client.close()
    return Answer(backlog, backlog > 0, int(metadata["streamLength"]))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def append(settings: Settings, number: int, shard: int = 0) -> None:
    """Append so many leads to a shard, as the API does."""

    async def run() -> None:
        commits = [
            GroupCommit(client, settings, lambda *_: None, each)
            for each, client in async_shards(settings, connections=1)
        ]
        fields = a_lead()
        left = number
        while left:
            sizes = [min(BULK, left - done) for done in range(0, min(left, BULK * TOGETHER), BULK)]
            results = await asyncio.gather(*(commits[shard].submit(_bulk(size, fields)) for size in sizes))
            assert all(each.verdict is Verdict.APPENDED for each in results)
            left -= sum(sizes)
        for commit in commits:
            await commit.close()

    asyncio.run(run())


def _bulk(size: int, fields: dict[str, Any]) -> AppendRequest:
    leads = [new_lead_id() for _ in range(size)]
    return AppendRequest(leads=tuple(NewLead(lead, codec.encode(lead, dict(fields))) for lead in leads))


def read(shard: ShardClient, settings: Settings, number: int) -> tuple[Consumer, list[Any]]:
    """Read so many leads as a worker does; return it and them. They are pending until it acknowledges them."""
    consumer = Consumer(shard, settings)
    entries = consumer.claim_and_read(number).entries
    assert len(entries) == number
    return consumer, entries


def acknowledge(consumer: Consumer, entries: list[Any]) -> None:
    """Say that they are stored."""
    consumer.acknowledge(entries, [id_of(each.payload) or b"" for each in entries])
