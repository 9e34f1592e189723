"""ingest_api.intake.group_commit while Redis hangs, dies or is full: never a promise that is not kept."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client import REGISTRY

from ingest_api.intake.append import AppendRequest, Verdict
from ingest_api.intake.group_commit import GroupCommit, NotSent, QueueUnavailable
from ingest_api.reads.queue_reader import QueueReader
from schema.lead.lead_id import LeadId, new_lead_id
from schema.queue import keys
from schema.queue.entries import id_of
from schema.runtime.redis_clients import async_redis
from tests.integration.backends import Backend
from tests.integration.flushes import Line, lead_of, one_lead, with_key
from tests.kit.servers import until

pytestmark = pytest.mark.destructive("queue")

Note = Callable[[str, object], None]  # puts a measured value into the report

# Of a line to a Redis that hangs, and the most until a 503: short, and long enough for an fsync afterwards.
TIMEOUT = 1.5


def run(backend: Backend, work: Callable[[Line], Awaitable[None]], timeout: float = 10.0) -> None:
    """Run `work` with a line that has flushed once, and waits `timeout` seconds for Redis."""

    async def main() -> None:
        line = Line(backend, redis_timeout=timeout)
        await line.submit(AppendRequest())
        await work(line)
        await line.commit.close()

    asyncio.run(main())


def kept(backend: Backend) -> list[LeadId]:
    """Return the ids in the stream, and check that the index leads to each and the counts agree."""
    found = backend.client.xrange(keys.STREAM)
    ids = [id_of(fields[b"lead"]) for _, fields in found]
    assert backend.client.hgetall(keys.INDEX) == {lead: name for lead, (name, _) in zip(ids, found, strict=True)}
    counted = backend.client.hgetall(keys.ACCEPTED)
    assert sum(int(number) for name, number in counted.items() if name.startswith(b"60:")) == len(ids)
    return ids


async def submitted_again(line: Line, deadline: float = 20.0) -> None:
    """Submit empty operations until one is answered: Redis is back."""
    end = time.monotonic() + deadline
    while True:
        try:
            await line.submit(AppendRequest())
            return
        except QueueUnavailable:
            assert time.monotonic() < end, "the line does not recover"


def failures() -> float:
    return REGISTRY.get_sample_value("leads_flush_failures_total") or 0


def test_requests_to_a_redis_that_hangs_are_refused_in_time(backend: Backend, record_property: Note):
    async def work(line: Line) -> None:
        before = failures()
        with backend.queue.hanging():
            started = time.monotonic()
            # One in the first flush, the others behind it.
            first = asyncio.create_task(line.submit(one_lead()))
            await asyncio.sleep(0.01)
            others = (line.submit(one_lead()) for _ in range(20))
            outcomes = await asyncio.gather(first, *others, return_exceptions=True)
            record_property("seconds", time.monotonic() - started)
            assert time.monotonic() - started < TIMEOUT
        # Redis may have taken the first one, and none of the others: they did not wait for a flush of their own.
        assert [type(outcome) for outcome in outcomes] == [QueueUnavailable] + [NotSent] * 20
        assert failures() - before == 1

    run(backend, work, timeout=0.5)


def test_after_redis_hung_no_request_gets_the_answer_of_another(backend: Backend):
    async def work(line: Line) -> None:
        # Given requests that were given up while Redis hung, and that it carries out later
        with backend.queue.hanging():
            for number in range(2):
                with pytest.raises(QueueUnavailable):
                    await line.submit(with_key(f"before {number}", b""))
        line.wait_longer(10.0)
        await submitted_again(line)

        # When new ones come, each with a lead and a key of its own
        operations = [with_key(f"after {number}", bytes([number])) for number in range(50)]
        answers = await asyncio.gather(*(line.submit(each) for each in operations))
        again = await asyncio.gather(*(line.submit(with_key(f"after {n}", bytes([n]))) for n in range(50)))

        # Then each answer speaks of its own
        assert {answer.verdict for answer in answers} == {Verdict.APPENDED}
        assert [answer.id for answer in again] == [operation.leads[0].id for operation in operations]
        assert set(kept(backend)) >= {operation.leads[0].id for operation in operations}

    run(backend, work, TIMEOUT)


def test_a_flush_that_timed_out_leaves_no_answer_to_the_next_one(backend: Backend):
    async def work(line: Line) -> None:
        # Given a client library that keeps a connection whose caller was cancelled, and a key that is used
        await line.submit(with_key("key", b"body"))
        settings = backend.with_settings(redis_timeout=TIMEOUT)
        client = async_redis(settings.shards[0], settings, connections=1)
        sent = asyncio.Event()
        client.connection_pool.connection_class = keeping(client.connection_pool.connection_class, sent)
        commit = GroupCommit(client, settings, lambda *_: None)
        await commit.submit(AppendRequest())

        with backend.queue.hanging():
            # When a flush is given up while Redis hangs, and the next one is under way when its answer comes
            with pytest.raises(QueueUnavailable):
                await commit.submit(one_lead())
            sent.clear()
            conflict = asyncio.create_task(commit.submit(with_key("key", b"other")))
            await asyncio.wait_for(sent.wait(), 10)
        [outcome] = await asyncio.gather(conflict, return_exceptions=True)

        # Then that one is not told what became of the first
        assert isinstance(outcome, QueueUnavailable) or outcome.verdict is Verdict.CONFLICT
        await commit.close()

    run(backend, work)


def keeping(connection: Any, sent: asyncio.Event) -> Any:
    """Return a connection class that does not disconnect when its caller is cancelled, as redis-py 4.5 did."""

    class Keeping(connection):
        async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
            await super().send_packed_command(*arguments, **options)
            sent.set()

        async def read_response(self, *arguments: Any, **options: Any) -> Any:
            return await super().read_response(*arguments, **options | {"disconnect_on_error": False})

    return Keeping


def test_a_retry_with_the_same_key_after_a_refusal_is_one_lead(backend: Backend):
    async def work(line: Line) -> None:
        # Given a request that was refused while Redis hung: whether it was written is unknown
        with backend.queue.hanging(), pytest.raises(QueueUnavailable):
            await line.submit(with_key("key", b"body"))
        line.wait_longer(10.0)
        await submitted_again(line)

        # When the client tries again
        answer = await line.submit(with_key("key", b"body"))

        assert answer.verdict in (Verdict.APPENDED, Verdict.DUPLICATE)
        assert len(kept(backend)) == 1

    run(backend, work, TIMEOUT)


def test_requests_to_a_redis_that_is_gone_are_refused_at_once_and_served_when_it_is_back(
    backend: Backend, record_property: Note
):
    async def work(line: Line) -> None:
        backend.queue.kill()
        try:
            started = time.monotonic()
            with pytest.raises(QueueUnavailable):
                await line.submit(one_lead())
            record_property("seconds", time.monotonic() - started)
            assert time.monotonic() - started < TIMEOUT
        finally:
            backend.queue.start()
        # The server that was started again does not know the script.
        await submitted_again(line)
        assert (await line.submit(one_lead())).verdict is Verdict.APPENDED

    # Without waiting for the timeout of a line.
    run(backend, work, timeout=3 * TIMEOUT)


def test_what_was_done_outlives_a_killed_redis(backend: Backend):
    # Given clients that note every lead that is done
    ledger: list[LeadId] = []

    async def client(line: Line) -> None:
        while True:
            operation = one_lead()
            try:
                await line.submit(operation)
            except QueueUnavailable:
                return
            ledger.append(operation.leads[0].id)

    async def work(line: Line) -> None:
        clients = [asyncio.create_task(client(line)) for _ in range(20)]
        while len(ledger) < 300:
            await asyncio.sleep(0.001)

        # When Redis is killed in the midst of it and started again
        await asyncio.to_thread(backend.queue.kill)
        await asyncio.gather(*clients)
        backend.queue.start()

        # Then all of them are there
        await submitted_again(line)
        assert set(kept(backend)) >= set(ledger)

    run(backend, work)


def test_a_script_that_redis_forgot_is_loaded_again(backend: Backend):
    async def work(line: Line) -> None:
        backend.client.script_flush()
        answers = await asyncio.gather(*(line.submit(one_lead()) for _ in range(10)))
        assert {answer.verdict for answer in answers} == {Verdict.APPENDED}
        assert len(kept(backend)) == 10

    run(backend, work)


def test_a_redis_without_memory_takes_nothing_by_halves(backend: Backend):
    async def work(line: Line) -> None:
        # Given a Redis that has room for some leads more
        done = 0

        async def fill() -> None:
            nonlocal done
            for _ in range(10_000):
                await line.submit(AppendRequest(leads=tuple(lead_of(new_lead_id()) for _ in range(100))))
                done += 100

        with memory_limit(backend, backend.client.info("memory")["used_memory"] + 1_000_000):
            # When leads come until it refuses
            with pytest.raises(QueueUnavailable):
                await fill()

            # Then all that was done is there whole, and nothing of what was refused
            assert len(kept(backend)) == done > 0
            backend.client.config_set("maxmemory", 1)
            with pytest.raises(QueueUnavailable):
                await line.submit(with_key("key", b"body"))
            assert len(kept(backend)) == done
            assert not backend.client.exists(with_key("key", b"body").key)

        # And with memory again it takes leads again
        assert (await line.submit(one_lead())).verdict is Verdict.APPENDED

    run(backend, work)


def test_a_request_that_was_given_up_by_its_client_does_not_disturb_the_others(backend: Backend):
    async def work(line: Line) -> None:
        tasks = [asyncio.create_task(line.submit(one_lead())) for _ in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes.pop(3), asyncio.CancelledError)
        assert {outcome.verdict for outcome in outcomes} == {Verdict.APPENDED}
        assert (await line.submit(one_lead())).verdict is Verdict.APPENDED
        assert len(kept(backend)) in (10, 11)

    run(backend, work)


def test_a_look_into_the_queue_finds_a_lead_wherever_it_waits(backend: Backend):
    waiting, dead = backend.accept(2)
    name = backend.client.hget(keys.INDEX, dead)
    [(_, fields)] = backend.client.xrange(keys.STREAM, name, name)
    letter = backend.client.xadd(keys.DEAD, {"reason": "why", **fields})
    backend.client.hset(keys.INDEX, dead, b"dead:" + letter)

    async def look() -> list[bytes | None]:
        reader = QueueReader(backend.async_shards(2))
        found = [await reader.find(each) for each in (waiting, dead, new_lead_id())]
        await reader.close()
        return found

    found = asyncio.run(look())

    assert [payload and id_of(payload) for payload in found] == [waiting, dead, None]


@contextmanager
def memory_limit(backend: Backend, most: int) -> Iterator[None]:
    """Let Redis refuse what needs more than `most` bytes."""
    backend.client.config_set("maxmemory-policy", "noeviction")
    backend.client.config_set("maxmemory", most)
    try:
        yield
    finally:
        backend.client.config_set("maxmemory", 0)
        until(backend.client.ping)


def test_on_a_full_disk_nothing_is_promised_that_is_not_on_it(backend: Backend):
    # Given a server whose disk is about to be full: its files may grow by 32 KiB and no more
    process = psutil.Process(backend.queue.pid)
    files = [Path(file.path) for file in process.open_files() if "appendonly" in file.path]
    limit = max(file.stat().st_size for file in files) + 32 * 1024
    process.rlimit(psutil.RLIMIT_FSIZE, (limit, limit))
    promised: list[LeadId] = []

    async def send(line: Line) -> None:
        for _ in range(5_000):
            operation = one_lead()
            await line.submit(operation)
            promised.append(operation.leads[0].id)

    # When leads are sent until one is refused
    async def work(line: Line) -> None:
        with pytest.raises(QueueUnavailable):
            await send(line)

        # Then with room on the disk again, and no hand on the line, it goes on
        backend.queue.kill()
        backend.queue.start()
        await submitted_again(line)

    run(backend, work)
    # And every lead that was promised is there
    assert 0 < len(promised) < 5_000
    assert set(promised) <= set(kept(backend))
