"""ingest_api.intake.refused_leads: what all processes counted, kept while Redis takes nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from ingest_api.intake.refused_leads import RefusedLeads
from schema.counts.widths import DAY, HOUR, MINUTE
from schema.queue.keys import REFUSED_PREFIX
from schema.queue.refused_counts import REFUSED_TTL, name_of
from tests.integration.backends import Backend

Work = Callable[[RefusedLeads, RefusedLeads], Awaitable[None]]


def run(backend: Backend, work: Work) -> None:
    """Run `work` with the counts of two processes."""

    async def main() -> None:
        await work(*(RefusedLeads(backend.async_shards(2)[0]) for _ in range(2)))

    asyncio.run(main())


async def counted(refused: RefusedLeads, width: int = DAY) -> int:
    """Return how many are counted in the buckets of now and of just before."""
    now = int(time.time())
    start = now - now % width - width
    found = await refused.by_bucket(width, start, start + 2 * width)
    assert found is not None
    return sum(found.values())


async def written(refused: RefusedLeads, number: int) -> None:
    """Wait until so many are counted."""
    async with asyncio.timeout(30):
        while await counted(refused) != number:
            await asyncio.sleep(0.05)


def test_what_two_processes_refuse_is_added_up_in_each_bucket(backend: Backend):
    async def work(one: RefusedLeads, other: RefusedLeads) -> None:
        one.note(3)
        one.note(1)
        other.note(5)

        await written(other, 9)

        assert [await counted(one, width) for width in (MINUTE, HOUR, DAY)] == [9, 9, 9]
        await one.close()
        await other.close()

    run(backend, work)


def test_each_count_expires_when_nobody_can_ask_for_it(backend: Backend):
    async def work(one: RefusedLeads, other: RefusedLeads) -> None:
        one.note(1)
        await one.close()
        await other.close()

    run(backend, work)

    names = list(backend.client.scan_iter(f"{REFUSED_PREFIX}*"))
    assert len(names) == len(REFUSED_TTL)
    for name in names:
        width = int(name.split(b":")[2])
        assert REFUSED_TTL[width] - 60 < backend.client.ttl(name) <= REFUSED_TTL[width]


def test_what_redis_does_not_take_is_written_when_it_does(backend: Backend):
    async def work(one: RefusedLeads, other: RefusedLeads) -> None:
        backend.client.config_set("maxmemory", 1)
        try:
            refusals = backend.client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"]
            one.note(2)
            async with asyncio.timeout(30):
                while backend.client.info("errorstats").get("errorstat_OOM", {"count": 0})["count"] == refusals:
                    await asyncio.sleep(0.05)
            one.note(2)
            assert await counted(other) == 0
        finally:
            backend.client.config_set("maxmemory", 0)

        await written(other, 4)
        await one.close()
        await other.close()

    run(backend, work)


def test_a_process_that_stops_writes_the_rest(backend: Backend):
    async def work(one: RefusedLeads, other: RefusedLeads) -> None:
        one.note(7)

        await one.close()

        assert await other.today() == 7
        await other.close()

    run(backend, work)


def test_of_buckets_that_are_no_longer_kept_nothing_is_known(backend: Backend):
    async def work(one: RefusedLeads, other: RefusedLeads) -> None:
        old = int(time.time()) - REFUSED_TTL[MINUTE] - 2 * MINUTE
        old -= old % MINUTE

        assert await one.by_bucket(MINUTE, old, old + HOUR) is None
        assert await one.by_bucket(HOUR, old - old % HOUR, old - old % HOUR + HOUR) == {}
        await one.close()
        await other.close()

    run(backend, work)


def test_a_name_is_that_of_its_bucket():
    assert name_of(MINUTE, 119) == name_of(MINUTE, 60) != name_of(MINUTE, 120)
