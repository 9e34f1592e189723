"""ingest_api.intake.group_commit: what is answered is in the stream, once, and requests share the way there."""

import asyncio

from ingest_api.intake.append import AppendRequest, AppendResult, NewLead, Verdict
from ingest_api.intake.group_commit import FLUSH_BYTES, GroupCommit, QueueUnavailable
from schema.lead.lead_id import new_lead_id
from schema.queue import keys
from tests.integration.backends import Backend
from tests.integration.flushes import Line, lead_of, one_lead, run


def test_a_lead_that_is_done_is_in_the_stream_and_can_be_found_by_its_id(backend: Backend):
    wanted = lead_of(new_lead_id())

    answer = run(backend, lambda line: line.submit(AppendRequest(leads=(wanted,))))

    assert answer == AppendResult(Verdict.APPENDED, 0, 0, b"")
    [(entry, fields)] = backend.client.xrange(keys.STREAM)
    assert fields == {b"lead": wanted.payload}
    assert backend.client.hgetall(keys.INDEX) == {wanted.id: entry}


def test_leads_that_are_in_flight_together_share_a_few_flushes(backend: Backend):
    # Given a line that has flushed before
    async def work(line: Line) -> tuple[list[AppendResult], int]:
        await line.submit(one_lead())
        before = line.flushes()

        # When two hundred requests come at once
        answers = await asyncio.gather(*(line.submit(one_lead()) for _ in range(200)))
        return answers, line.flushes() - before

    answers, flushes = run(backend, work)

    # Then all are done, in one flush or two
    assert {answer.verdict for answer in answers} == {Verdict.APPENDED}
    assert flushes <= 2
    assert backend.waiting() == 201


def test_a_lone_request_waits_for_nobody(backend: Backend):
    async def work(line: Line) -> int:
        await line.submit(one_lead())
        before = line.flushes()
        await line.submit(one_lead())
        return line.flushes() - before

    assert run(backend, work) == 1


def test_a_flush_stays_within_its_bounds_and_a_bulk_goes_whole(backend: Backend):
    bulk = AppendRequest(leads=tuple(lead_of(new_lead_id()) for _ in range(900)))

    async def work(line: Line) -> tuple[list[AppendResult], int]:
        await line.submit(AppendRequest())
        before = line.flushes()
        answers = await asyncio.gather(*(line.submit(bulk) for _ in range(3)), line.submit(one_lead()))
        return answers, line.flushes() - before

    answers, flushes = run(backend, work)

    assert {answer.verdict for answer in answers} == {Verdict.APPENDED}
    assert backend.waiting() == 2701
    assert flushes == 3


def with_payload(size: int) -> AppendRequest:
    """Return the operation of a request with one lead of so many bytes."""
    return AppendRequest(leads=(NewLead(new_lead_id(), b"x" * size),))


def test_a_flush_stays_within_its_bounds_in_bytes(backend: Backend):
    async def work(line: Line) -> int:
        await line.submit(AppendRequest())
        before = line.flushes()
        await asyncio.gather(*(line.submit(with_payload(FLUSH_BYTES // 2 + 1)) for _ in range(2)))
        return line.flushes() - before

    assert run(backend, work) == 2


def test_a_request_larger_than_a_flush_goes_alone(backend: Backend):
    async def work(line: Line) -> list[AppendResult]:
        return await asyncio.gather(line.submit(with_payload(FLUSH_BYTES + 1)), line.submit(one_lead()))

    assert {answer.verdict for answer in run(backend, work)} == {Verdict.APPENDED}
    assert backend.waiting() == 2


def test_every_lead_of_a_full_flush_is_found_by_its_id(backend: Backend):
    bulk = AppendRequest(leads=tuple(lead_of(new_lead_id()) for _ in range(1000)))

    run(backend, lambda line: line.submit(bulk))

    found = backend.client.xrange(keys.STREAM)
    ids = [each.id for each in bulk.leads]
    assert backend.client.hgetall(keys.INDEX) == {each: name for each, (name, _) in zip(ids, found, strict=True)}


def test_a_request_that_cannot_be_written_leaves_nobody_waiting(backend: Backend):
    async def work(line: Line) -> None:
        # Given a request of which no command can be made, by an error of ours
        wrong = AppendRequest(leads=(NewLead(None, b"{}"),))  # type: ignore[arg-type]

        # When it shares a flush with another
        both = asyncio.gather(line.submit(wrong), line.submit(one_lead()), return_exceptions=True)
        outcomes = await asyncio.wait_for(both, 10)

        # Then both are told, and the next one is served
        assert {type(outcome) for outcome in outcomes} == {QueueUnavailable}
        assert (await line.submit(one_lead())).verdict is Verdict.APPENDED

    run(backend, work)


def test_a_connection_that_the_server_closed_costs_no_request(backend: Backend):
    async def work(line: Line) -> AppendResult:
        await line.submit(one_lead())
        backend.client.client_kill_filter(_type="normal", skipme=True)
        # Some turns of the event loop, in which it learns of that.
        await asyncio.sleep(0.05)
        return await line.submit(one_lead())

    assert run(backend, work).verdict is Verdict.APPENDED


def test_the_publisher_is_told_what_was_appended_and_what_waits(backend: Backend):
    told: list[tuple[int, int, int]] = []

    async def work() -> None:
        [(shard, client)] = backend.async_shards(1)
        commit = GroupCommit(client, backend.settings, lambda *told_: told.append(told_), shard)
        await commit.submit(one_lead())
        await commit.submit(AppendRequest())
        await commit.submit(AppendRequest(leads=(lead_of(new_lead_id()), lead_of(new_lead_id()))))
        await commit.close()

    backend.client.rpush("leads:tickets", "a ticket")
    asyncio.run(work())

    assert told == [(1, 1, 1), (2, 3, 1)]
