"""What asyncio clients of Redis do with a connection that the kernel has closed meanwhile."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as NotConnected

from schema.runtime.redis_clients import async_redis
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
