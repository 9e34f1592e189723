"""KEDA's scaler, with the triggers of the chart, gets from a running Redis how many leads wait."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from schema.queue.keys import GROUP, STREAM
from schema.runtime.redis_clients import blocking_shards
from schema.settings import Settings
from tests.helm.backlog import (
    PASSWORD,
    Answer,
    NoAnswer,
    acknowledge,
    append,
    ask_keda,
    ask_redis,
    make_users,
    read,
    triggers,
)
from tests.kit.cluster import ClusterSet
from tests.kit.kubernetes import need
from tests.kit.sentinels import NAME, SentinelSet
from tests.kit.servers import RedisServer, until

need("helm")

Ask = Callable[[dict[str, Any]], Answer]

# The chart's default.
TARGET = 5000

WAITING = 20_000
MANY = 1_000_000


@pytest.fixture(params=[ask_keda, ask_redis], ids=["keda", "same-commands"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Who asks: KEDA's own code, or where it was not built the same commands."""
    found: Ask = request.param
    return found


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis with the users of the production form."""
    with RedisServer() as server:
        make_users(server.client())
        yield server


def settings_of(url: str, **changes: Any) -> Settings:
    """Return settings for a queue that never is full, with no broker beside it."""
    return replace(Settings(), redis_url=url, redis_timeout=60.0, queue_max=10 * MANY, **changes)


@pytest.mark.parametrize(
    "number", [WAITING, pytest.param(MANY, marks=[pytest.mark.extended, pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_one_redis_is_asked_while_many_leads_wait_while_none_does_and_after_the_stream_was_deleted(
    server: RedisServer, ask: Ask, number: int
):
    settings = settings_of(server.url)
    (shard,) = blocking_shards(settings, timeout=60)
    (trigger,) = triggers(hosts=[f"127.0.0.1:{server.port}"])

    # There is no stream yet.
    assert ask(trigger) == Answer(0, False, TARGET)

    append(settings, number)
    assert ask(trigger) == Answer(number, True, TARGET)

    # What a worker has read and not stored waits still.
    consumer, entries = read(shard, settings, 1000)
    assert ask(trigger) == Answer(number, True, TARGET)
    acknowledge(consumer, entries)
    assert ask(trigger) == Answer(number - 1000, True, TARGET)

    while left := int(server.client().xlen(STREAM)):
        acknowledge(*read(shard, settings, min(left, 10_000)))
    assert server.client().exists(STREAM)
    assert ask(trigger) == Answer(0, False, TARGET)

    append(settings, 10)
    server.client().delete(STREAM)
    assert ask(trigger) == Answer(0, False, TARGET)

    append(settings, 10)
    assert ask(trigger) == Answer(10, True, TARGET)


def test_a_scaler_that_asks_for_the_consumer_group_is_misled(server: RedisServer):
    settings = settings_of(server.url)
    (shard,) = blocking_shards(settings, timeout=60)
    (trigger,) = triggers(hosts=[f"127.0.0.1:{server.port}"])

    def of_group(**more: str) -> dict[str, Any]:
        metadata = {name: value for name, value in trigger["metadata"].items() if name != "streamLength"}
        # The worker may not run INFO of all sections.
        login = {"username": "default"}
        return {**trigger, "metadata": {**metadata, **login, "consumerGroup": GROUP, **more}, "auth": {}}

    append(settings, 3000)
    read(shard, settings, 1000)

    assert ask_keda(trigger).backlog == 3000
    assert ask_keda(of_group(pendingEntriesCount="5000")).backlog == 1000
    assert ask_keda(of_group(lagCount="5000")).backlog == 2000
    # A stream without a group, or none: an error, and no number.
    server.client().delete(STREAM)
    with pytest.raises(NoAnswer, match="NOGROUP"):
        ask_keda(of_group(pendingEntriesCount="5000"))
    assert ask_keda(trigger).backlog == 0


def test_a_wrong_password_is_an_error_and_no_backlog_of_zero(server: RedisServer, ask: Ask):
    (trigger,) = triggers(hosts=[f"127.0.0.1:{server.port}"])

    with pytest.raises(NoAnswer, match="invalid username-password pair"):
        ask({**trigger, "auth": {"password": PASSWORD + "4"}})


@pytest.mark.hosts
@pytest.mark.slow
def test_the_primary_under_sentinel_is_asked_also_after_a_failover(ask: Ask):
    with SentinelSet() as sentinels:
        for each in sentinels.servers:
            make_users(each.client())
        settings = settings_of(sentinels.url, redis_replicas=1)
        hosts = [f"127.0.0.1:{each.port}" for each in sentinels.sentinels]
        (trigger,) = triggers(form="sentinel", hosts=hosts, sentinelName=NAME)

        append(settings, WAITING)
        assert ask(trigger) == Answer(WAITING, True, TARGET)

        sentinels.primary.kill()

        def answer() -> Answer | None:
            try:
                return ask(trigger)
            except NoAnswer:
                return None

        assert until(answer, 60, 0.5) == Answer(WAITING, True, TARGET)


@pytest.mark.hosts
@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [WAITING, pytest.param(MANY, marks=[pytest.mark.extended, pytest.mark.timeout(900)])]
)
def test_each_shard_of_a_cluster_is_asked_and_their_sum_is_the_backlog(ask: Ask, number: int):
    with ClusterSet(replicas=0) as cluster:
        for node in cluster.nodes:
            make_users(node.client())
        settings = settings_of(cluster.url, queue_shards=3, broker_url="redis://none:1")
        shards = blocking_shards(settings, timeout=60)
        hosts = [f"127.0.0.1:{node.port}" for node in cluster.nodes]
        found = triggers(form="cluster", hosts=hosts, shards=3)
        parts = [number // 2, number // 4, number // 4]

        assert [ask(each).backlog for each in found] == [0, 0, 0]
        for shard, part in enumerate(parts):
            append(settings, part, shard)
        assert [ask(each) for each in found] == [Answer(part, True, TARGET) for part in parts]

        acknowledge(*read(shards[1], settings, 1000))
        assert sum(ask(each).backlog for each in found) == number - 1000

        first, client = shards[0]
        client.delete(first.name(STREAM))
        assert [ask(each).backlog for each in found] == [0, parts[1] - 1000, parts[2]]
