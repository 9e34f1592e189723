"""ingest_api/intake/append.lua: the rate limit, idempotency keys, a full queue, and the counts of accepted leads."""

import asyncio
import hashlib
import time
from collections import Counter

import pytest

from ingest_api.intake.append import AppendRequest, AppendResult, NewLead, Verdict, duplicates_of
from schema.lead import codec, lead_id
from schema.lead.contacts import contacts_of
from schema.lead.lead_id import LeadId, micros_of, new_lead_id
from schema.lead.source import SourceLimits
from schema.queue import entries, keys
from tests.integration.backends import Backend, fields_of
from tests.integration.flushes import Line, lead_of, one_lead, run, with_key


def test_the_rate_limit_counts_exactly_over_two_processes(backend: Backend):
    # Given two API processes and a client with a hundred requests a minute
    counted = AppendRequest(rate_key="leads:rate:192.0.2.1")

    async def work(first: Line, second: Line) -> list[AppendResult]:
        return await asyncio.gather(*(line.submit(counted) for line in (first, second) for _ in range(75)))

    # When it sends a hundred and fifty at once
    answers = run(backend, work, lines=2, rate_limit=100)

    # Then a hundred pass, and each has a number of its own
    assert Counter(answer.verdict for answer in answers) == {Verdict.APPENDED: 100, Verdict.RATE_LIMITED: 50}
    assert sorted(answer.used for answer in answers) == list(range(1, 151))
    assert all(0 < answer.window_left <= 60_000 for answer in answers)
    assert 0 < backend.client.pttl("leads:rate:192.0.2.1") <= 60_000


@pytest.mark.parametrize("source", [None, SourceLimits("acme")], ids=["user", "source"])
def test_a_limited_request_appends_nothing_and_other_clients_go_on(backend: Backend, source: SourceLimits | None):
    def from_client(number: int) -> AppendRequest:
        return AppendRequest(f"leads:rate:192.0.2.{number}", (lead_of(new_lead_id()),), source=source)

    async def work(line: Line) -> list[AppendResult]:
        return await asyncio.gather(*(line.submit(from_client(client)) for client in (1, 1, 1, 2)))

    answers = run(backend, work, rate_limit=2)

    verdicts = [answer.verdict for answer in answers]
    assert verdicts == [Verdict.APPENDED, Verdict.APPENDED, Verdict.RATE_LIMITED, Verdict.APPENDED]
    assert backend.waiting() == 3


def test_a_window_ends_and_the_next_begins_anew(backend: Backend):
    counted = AppendRequest(rate_key="leads:rate:192.0.2.1")

    async def work(line: Line) -> tuple[Verdict, AppendResult]:
        refused = [await line.submit(counted) for _ in range(2)][-1]
        while backend.client.exists("leads:rate:192.0.2.1"):
            await asyncio.sleep(0.01)
        return refused.verdict, await line.submit(counted)

    refused, later = run(backend, work, rate_limit=1, rate_limit_window=1)

    assert refused is Verdict.RATE_LIMITED
    assert (later.verdict, later.used) == (Verdict.APPENDED, 1)


def test_a_window_is_not_prolonged_by_requests_within_it(backend: Backend):
    counted = AppendRequest(rate_key="leads:rate:192.0.2.1")

    async def work(line: Line) -> list[AppendResult]:
        await line.submit(counted)
        # Half of the window is over.
        backend.client.pexpire("leads:rate:192.0.2.1", 30_000)
        return [await line.submit(counted) for _ in range(2)]

    answers = run(backend, work, rate_limit=100)

    assert [answer.used for answer in answers] == [2, 3]
    assert all(answer.window_left <= 30_000 for answer in answers)
    assert backend.client.pttl("leads:rate:192.0.2.1") <= 30_000


def test_leads_in_bulk_are_counted_exactly_over_two_processes_and_apart_from_requests(backend: Backend):
    async def work(first: Line, second: Line) -> list[AppendResult]:
        ip = AppendRequest(f"{keys.RATE_PREFIX}192.0.2.1")
        ada, grace = f"{keys.BULK_RATE_PREFIX}ada", f"{keys.BULK_RATE_PREFIX}grace"
        await first.submit(ip)
        bulks = [AppendRequest(ada, one_lead().leads, cost=10) for _ in range(30)]
        return [
            *await asyncio.gather(*map(first.submit, bulks[:15]), *map(second.submit, bulks[15:])),
            await first.submit(ip),
            await first.submit(AppendRequest(ada, cost=0)),
            await first.submit(AppendRequest(grace, cost=0)),
        ]

    *bulks, request, used_up, other = run(backend, work, lines=2, rate_limit=2, bulk_limit=95)

    # The tenth finds 90 of 95 used.
    assert Counter(answer.verdict for answer in bulks) == {Verdict.APPENDED: 10, Verdict.RATE_LIMITED: 20}
    assert backend.waiting() == 10
    assert (request.verdict, request.used) == (Verdict.APPENDED, 2)
    assert used_up.verdict is Verdict.RATE_LIMITED
    assert 59_000 < used_up.window_left <= 60_000
    assert (other.verdict, other.used) == (Verdict.APPENDED, 0)
    assert not backend.client.exists(f"{keys.BULK_RATE_PREFIX}grace")
    assert backend.client.pttl(f"{keys.BULK_RATE_PREFIX}ada") > 0


def test_a_key_used_again_with_the_same_body_answers_the_same_id_and_appends_nothing(backend: Backend):
    async def work(line: Line) -> tuple[LeadId, AppendResult, AppendResult]:
        first = with_key("key", b"body")
        await line.submit(first)
        return (
            first.leads[0].id,
            await line.submit(with_key("key", b"body")),
            await line.submit(with_key("key", b"other")),
        )

    used, repeated, conflict = run(backend, work)

    assert (repeated.verdict, repeated.id) == (Verdict.DUPLICATE, used)
    assert conflict.verdict is Verdict.CONFLICT
    assert backend.waiting() == 1


def test_a_key_sent_a_hundred_times_at_once_over_two_processes_is_one_lead(backend: Backend):
    async def work(first: Line, second: Line) -> list[AppendResult]:
        return await asyncio.gather(
            *(line.submit(with_key("key", b"body")) for line in (first, second) for _ in range(50))
        )

    answers = run(backend, work, lines=2)

    assert Counter(answer.verdict for answer in answers) == {Verdict.APPENDED: 1, Verdict.DUPLICATE: 99}
    [(_, fields)] = backend.client.xrange(keys.STREAM)
    assert {answer.id for answer in answers if answer.verdict is Verdict.DUPLICATE} == {entries.id_of(fields[b"lead"])}


def test_a_redis_that_may_have_forgotten_a_key_says_so_and_appends_nothing(backend: Backend):
    # Given a Redis that has lost its data, or has none yet
    async def work(line: Line) -> list[Verdict]:
        await line.submit(one_lead())
        unsure = with_key("key", b"body", key_absent_in_database=False)
        return [
            (await line.submit(each)).verdict for each in (unsure, unsure._replace(key_absent_in_database=True), unsure)
        ]

    # When a key comes that it does not know, and comes again after the database was asked
    verdicts = run(backend, work)

    assert verdicts == [Verdict.KEY_UNVERIFIED, Verdict.APPENDED, Verdict.DUPLICATE]
    assert backend.waiting() == 2


@pytest.mark.parametrize("remembers", [{"first": 1}, {"epoch": 1_000_000}])
def test_a_redis_that_remembers_all_living_keys_is_sure(backend: Backend, remembers: dict[str, int]):
    backend.client.hset(keys.ACCEPTED, mapping=remembers)

    answer = run(backend, lambda line: line.submit(with_key("key", b"body", key_absent_in_database=False)))

    assert answer.verdict is Verdict.APPENDED


def test_a_redis_that_is_younger_than_a_key_may_be_is_not_sure(backend: Backend):
    backend.client.hset(keys.ACCEPTED, "epoch", int(time.time() - 3000) * 1_000_000)
    unsure = with_key("key", b"body", key_absent_in_database=False)

    answer = run(backend, lambda line: line.submit(unsure), idempotency_ttl=3600)

    assert answer.verdict is Verdict.KEY_UNVERIFIED


def test_the_entry_of_a_lead_carries_its_key(backend: Backend):
    operation = with_key("key", b"body")

    run(backend, lambda line: line.submit(operation))

    [each] = backend.client.xrange(keys.STREAM)
    entry = entries.parse(*each)
    assert (keys.IDEMPOTENCY_PREFIX + entry.key.decode(), entry.digest) == (operation.key, operation.digest)


def test_a_key_is_forgotten_when_its_time_is_over(backend: Backend):
    for _ in range(2):
        run(backend, lambda line: line.submit(with_key("key", b"body")), idempotency_ttl=86400)

        assert 86_000 < backend.client.ttl(with_key("key", b"body").key) <= 86_400


def test_a_full_queue_takes_no_lead_and_no_part_of_a_bulk(backend: Backend):
    async def work(line: Line) -> list[Verdict]:
        bulk = AppendRequest(leads=tuple(lead_of(new_lead_id()) for _ in range(4)))
        operations = [bulk, bulk, with_key("key", b""), one_lead(), with_key("other", b"")]
        return [(await line.submit(each)).verdict for each in operations]

    verdicts = run(backend, work, queue_max=6)

    assert verdicts == [Verdict.APPENDED, Verdict.FULL, Verdict.APPENDED, Verdict.APPENDED, Verdict.FULL]
    assert backend.waiting() == 6
    assert not backend.client.exists(with_key("other", b"").key)


def test_a_full_queue_is_full_within_a_flush_too(backend: Backend):
    bulk = AppendRequest(leads=tuple(lead_of(new_lead_id()) for _ in range(4)))

    async def work(line: Line) -> list[AppendResult]:
        return await asyncio.gather(line.submit(bulk), line.submit(bulk), line.submit(one_lead()))

    answers = run(backend, work, queue_max=6)

    assert [answer.verdict for answer in answers] == [Verdict.APPENDED, Verdict.FULL, Verdict.APPENDED]
    assert backend.waiting() == 5


def test_accepted_leads_are_counted_in_the_minute_hour_and_day_of_their_ids(backend: Backend):
    new_ids = [new_lead_id() for _ in range(3)]

    async def work(line: Line) -> None:
        await asyncio.gather(*(line.submit(AppendRequest(leads=(lead_of(each),))) for each in new_ids))

    run(backend, work)

    counted = {name.decode(): int(number) for name, number in backend.client.hgetall(keys.ACCEPTED).items()}
    epoch = counted.pop("epoch")
    expected: Counter[str] = Counter()
    for each in new_ids:
        second = micros_of(each) // 1_000_000
        expected.update(f"{width}:{second - second % width}" for width in (60, 3600, 86400))
    assert counted == expected
    assert abs(epoch - micros_of(new_ids[0])) < 60_000_000


@pytest.mark.parametrize("text", ["Zoë", "😀", "a" * 200])
def test_a_payload_arrives_byte_for_byte(backend: Backend, text: str):
    new_id = new_lead_id()
    payload = codec.encode(new_id, fields_of(firstName=text))

    run(backend, lambda line: line.submit(AppendRequest(leads=(NewLead(new_id, payload),))))

    assert backend.client.xrange(keys.STREAM)[0][1][b"lead"] == payload


def test_digests_of_any_bytes_are_compared_whole(backend: Backend):
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(20)]

    async def work(line: Line) -> list[Verdict]:
        return [
            (await line.submit(with_key("key", b"")._replace(digest=each))).verdict for each in [*digests, digests[0]]
        ]

    verdicts = run(backend, work)

    assert verdicts == [Verdict.APPENDED, *[Verdict.CONFLICT] * 19, Verdict.DUPLICATE]


def of_person(lead: LeadId, email: str, phone: str) -> NewLead:
    """Return a lead whose person is looked for."""
    return lead_of(lead)._replace(contacts=b"".join(contacts_of(email, phone)))


@pytest.mark.parametrize(("days_before", "is_duplicate"), [(6.9, True), (7.1, False), (29, False)])
def test_a_lead_is_a_duplicate_within_the_days_of_its_request(backend: Backend, days_before: float, is_duplicate: bool):
    # Given a person who came some days ago, and a source with a week where all others have a month
    now = new_lead_id()
    earlier = lead_id.at(micros_of(now) - int(days_before * 86_400_000_000))
    first = of_person(earlier, "ada@example.com", "+442071234567")

    async def work(line: Line) -> AppendResult:
        await line.submit(AppendRequest(leads=(first,), duplicate_days=30))
        again = of_person(now, "ada@example.com", "+442071234567")
        return await line.submit(AppendRequest(leads=(again,), duplicate_days=7))

    result = run(backend, work, duplicate_days=30)

    assert duplicates_of(result, 1) == [earlier if is_duplicate else None]


def test_what_is_refused_is_not_the_first_lead_of_what_is_new_in_it(backend: Backend):
    # Given a person, and a bulk of a source that has duplicates refused
    first, refused, other = (new_lead_id() for _ in range(3))

    async def work(line: Line) -> AppendResult:
        known = of_person(first, "ada@example.com", "+442071234567")
        await line.submit(AppendRequest(leads=(known,), duplicate_days=30))
        # When it sends her with a new number, and somebody else with the same one
        bulk = (
            of_person(refused, "ada@example.com", "+12025550123"),
            of_person(other, "grace@example.com", "+12025550123"),
        )
        return await line.submit(AppendRequest(leads=bulk, duplicate_days=30, refuses_duplicates=True))

    result = run(backend, work, duplicate_days=30)

    # Then the other one is taken
    assert duplicates_of(result, 2) == [first, None]
    assert backend.waiting() == 2
