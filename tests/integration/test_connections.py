"""What clients of Redis do with a connection that is of no more use."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import TimeoutError as TimedOut

from schema.runtime.redis_clients import async_redis, blocking_redis
from schema.settings import Settings
from tests.kit.sentinels import SentinelSet
from tests.kit.servers import RedisServer


@pytest.fixture(scope="module", params=["one server", "Sentinel"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with RedisServer() if request.param == "one server" else SentinelSet() as made:
        yield made.url


def test_a_closed_connection_is_a_lost_one_on_the_loop_that_the_api_runs_on(url: str):
    settings = replace(Settings(), redis_url=url, redis_timeout=2.0)

    async def use_a_closed_one(client: Redis) -> bool:
        async with client:
            connection = await client.connection_pool.get_connection()
            connection._writer.close()  # as the kernel does: redis-py is not told
            with pytest.raises(NotConnected):
                await connection.send_command("PING")
            await client.connection_pool.release(connection)
            return await client.ping()

    async def run() -> bool:
        return await use_a_closed_one(async_redis(settings.shards[0], settings, connections=1))

    assert uvloop.run(run())


def test_a_worker_leaves_a_primary_that_has_no_replicas_and_asks_again():
    with SentinelSet() as sentinels:
        former = sentinels.primary
        settings = replace(Settings(), redis_url=sentinels.url)
        with blocking_redis(settings.shards[0], timeout=2.0) as client:
            client.ping()
            # As a primary that was cut off: its replicas follow another one.
            former.client().config_set("min-replicas-to-write", 3)

            with pytest.raises(NotConnected, match="NOREPLICAS"):
                client.set("key", "value")

            assert not client.connection_pool._available_connections[0].is_connected


def test_an_answer_that_came_too_late_is_not_read_as_the_next_one():
    with SentinelSet() as sentinels:
        settings = replace(Settings(), redis_url=sentinels.url)
        with blocking_redis(settings.shards[0], timeout=0.5) as client:
            client.mset({"first": "1", "second": "2"})
            with sentinels.primary.hanging(), pytest.raises(TimedOut):
                client.get("first")

            assert client.get("second") == b"2"


def test_what_is_sent_once_more_goes_to_the_new_primary():
    with SentinelSet() as sentinels:
        former = sentinels.primary
        settings = replace(Settings(), redis_url=sentinels.url)
        with blocking_redis(settings.shards[0], timeout=2.0, only_reads=True) as client:
            client.ping()
            former.kill()
            sentinels.wait_for_another(former)

            assert client.get("key") is None
