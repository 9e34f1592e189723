"""The limits of a source in ingest_api/intake/append.lua: a rate and a daily cap of what is accepted, exactly."""

import asyncio
import hashlib
import itertools
from collections import Counter
from typing import Any

import pytest

from ingest_api.intake.append import AppendRequest, AppendResult, NewLead, Verdict
from schema.counts.by_source import SOURCE_WIDTHS
from schema.counts.widths import DAY, HOUR, MICROS, MINUTE
from schema.lead import codec, lead_id
from schema.lead.source import SourceLimits
from schema.queue.accepted_by_source import AcceptedBySource, Bucket
from schema.queue.keys import IDEMPOTENCY_PREFIX, INDEX, RATE_PREFIX, SOURCE_RATE_PREFIX, SOURCES_ACCEPTED
from tests.integration.backends import Backend, fields_of
from tests.integration.flushes import Line, one_lead, run
from tests.integration.test_counts import START
from tests.kit.servers import until

# Moments of leads, in microseconds since 1970; START is noon.
NOON = START * MICROS
NEXT_DAY = NOON + DAY // 2 * MICROS

ACME_RATE = f"{SOURCE_RATE_PREFIX}acme"

_numbers = itertools.count(1)


def sent(source: SourceLimits, *moments: int, key: str = "", body: bytes = b"body", **fields: Any) -> AppendRequest:
    """Return the request of a source with a lead of each moment, at noon by default.

    With an Idempotency-Key it was asked for in the database and is not there.
    """
    ids = [lead_id.at(each, next(_numbers)) for each in moments or (NOON,)]
    leads = tuple(NewLead(each, codec.encode(each, fields_of(**fields), source.name)) for each in ids)
    request = AppendRequest(leads=leads, source=source)
    if not key:
        return request
    name = IDEMPOTENCY_PREFIX + hashlib.sha256(key.encode()).hexdigest()
    return request._replace(key=name, digest=hashlib.sha256(body).digest(), key_absent_in_database=True)


def submit(backend: Backend, *requests: AppendRequest, **changes: Any) -> list[AppendResult]:
    """Submit requests one after the other, as one API process."""

    async def work(line: Line) -> list[AppendResult]:
        return [await line.submit(each) for each in requests]

    return run(backend, work, **changes)


def verdicts(answers: list[AppendResult]) -> list[Verdict]:
    return [each.verdict for each in answers]


def counted(backend: Backend) -> dict[Bucket, int]:
    """Return the accepted counts by source that Redis has."""
    return dict(AcceptedBySource.parse(0, backend.client.hgetall(SOURCES_ACCEPTED)).numbers)


def on_day(backend: Backend, source: str = "acme", moment: int = NOON) -> int:
    """Return the leads that count against a source's cap on the day of a moment."""
    second = moment // MICROS
    return counted(backend).get(Bucket(DAY, second - second % DAY, source), 0)


@pytest.fixture
def minute(backend: Backend) -> int:
    """The end of the present minute by Redis's clock, which the test does not outlast."""

    def second() -> int:
        return int(backend.client.time()[0])

    until(lambda: second() % MINUTE < MINUTE - 5)
    return second() // MINUTE * MINUTE + MINUTE


def test_a_rate_is_exact_over_two_processes(backend: Backend, minute: int):
    # Given two API processes and a source with a hundred leads a minute
    acme = SourceLimits("acme", rate=100)

    async def work(first: Line, second: Line) -> list[AppendResult]:
        return await asyncio.gather(*(line.submit(sent(acme)) for line in (first, second) for _ in range(75)))

    # When it sends a hundred and fifty at once
    answers = run(backend, work, lines=2)

    # Then a hundred are appended, and the others are told so
    assert Counter(verdicts(answers)) == {Verdict.APPENDED: 100, Verdict.SOURCE_RATE: 50}
    refused = [each for each in answers if each.verdict is Verdict.SOURCE_RATE]
    assert {(each.source_used, each.source_until) for each in refused} == {(100, minute)}
    assert backend.waiting() == backend.client.hlen(INDEX) == 100
    assert int(backend.client.get(ACME_RATE)) == on_day(backend) == 100


def test_a_daily_cap_is_exact_over_two_processes_with_bulks_and_single_leads(backend: Backend):
    # Given a cap that bulks of seven alone do not use up, and two processes that send bulks first
    acme = SourceLimits("acme", daily_cap=100)

    async def work(first: Line, second: Line) -> list[AppendResult]:
        requests = [*([NOON] * 7 for _ in range(10)), *([NOON] for _ in range(40))]
        return await asyncio.gather(*(line.submit(sent(acme, *each)) for each in requests for line in (first, second)))

    # When they send more than twice of it at once
    answers = run(backend, work, lines=2)

    # Then the cap is used up, and none is appended over it
    assert backend.waiting() == on_day(backend) == 100
    bulks, singles = answers[:20], answers[20:]
    appended = Counter(verdicts(bulks))[Verdict.APPENDED] * 7 + Counter(verdicts(singles))[Verdict.APPENDED]
    assert appended == 100
    assert {*verdicts(answers)} == {Verdict.APPENDED, Verdict.SOURCE_CAP}
    assert {each.source_used for each in singles if each.verdict is Verdict.SOURCE_CAP} == {100}
    assert all(93 < each.source_used <= 100 for each in bulks if each.verdict is Verdict.SOURCE_CAP)


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [(SourceLimits("acme", rate=10), Verdict.SOURCE_RATE), (SourceLimits("acme", daily_cap=10), Verdict.SOURCE_CAP)],
    ids=["rate", "cap"],
)
def test_a_bulk_that_does_not_fit_is_refused_whole(
    backend: Backend, minute: int, limits: SourceLimits, refusal: Verdict
):
    answers = submit(backend, *(sent(limits, *[NOON] * number) for number in (8, 3, 2, 1)))

    assert verdicts(answers) == [Verdict.APPENDED, refusal, Verdict.APPENDED, refusal]
    assert [each.source_used for each in answers] == [0, 8, 0, 10]
    assert backend.waiting() == on_day(backend) == 10


def test_what_a_flush_has_accepted_counts_for_the_rest_of_it(backend: Backend, minute: int):
    # Given requests that go in one flush, behind one that is on the wire
    acme = SourceLimits("acme", rate=9, daily_cap=3)

    async def work(line: Line) -> tuple[list[AppendResult], int]:
        before = line.flushes()
        answers = await asyncio.gather(line.submit(AppendRequest()), *(line.submit(sent(acme)) for _ in range(5)))
        return answers[1:], line.flushes() - before

    answers, flushes = run(backend, work)

    assert flushes <= 3
    assert verdicts(answers) == [Verdict.APPENDED] * 3 + [Verdict.SOURCE_CAP] * 2
    assert [each.source_used for each in answers[3:]] == [3, 3]


def test_a_bulk_of_two_days_counts_on_each(backend: Backend):
    # Given a cap of five, of which three are used on either day by one bulk
    acme = SourceLimits("acme", daily_cap=5)
    today, tomorrow = NEXT_DAY - 1, NEXT_DAY

    answers = submit(
        backend,
        sent(acme, *[today] * 3, *[tomorrow] * 3),
        # When the next fits on the first day alone, or on the second
        sent(acme, *[today] * 2, *[tomorrow] * 3),
        sent(acme, *[today] * 3, *[tomorrow] * 2),
        # Or on both
        sent(acme, *[today] * 2, *[tomorrow] * 2),
        sent(acme, today),
        sent(acme, tomorrow),
    )

    # Then only what fits on both is appended
    refused = Verdict.SOURCE_CAP
    assert verdicts(answers) == [Verdict.APPENDED, refused, refused, Verdict.APPENDED, refused, refused]
    assert [each.source_used for each in answers] == [0, 3, 3, 0, 5, 5]
    # And who is refused is told when the day that is used up ends
    ends = [NEXT_DAY // MICROS, NEXT_DAY // MICROS + DAY]
    assert [each.source_until for each in answers] == [0, ends[1], ends[0], 0, *ends]
    assert [on_day(backend, moment=each) for each in (today, tomorrow)] == [5, 5]
    assert backend.waiting() == 10


def test_a_day_that_is_used_up_leaves_the_next_one_whole(backend: Backend):
    acme = SourceLimits("acme", daily_cap=2)

    answers = submit(backend, sent(acme, NOON, NOON), sent(acme), sent(acme, NEXT_DAY, NEXT_DAY), sent(acme, NEXT_DAY))

    appended, refused = Verdict.APPENDED, Verdict.SOURCE_CAP
    assert verdicts(answers) == [appended, refused, appended, refused]


def test_a_repeated_key_is_a_duplicate_although_rate_and_cap_are_used_up(backend: Backend, minute: int):
    acme = SourceLimits("acme", rate=1, daily_cap=1)
    first = sent(acme, key="order")

    answers = submit(
        backend, first, sent(acme), sent(acme, key="order"), sent(acme, key="order", body=b"other"), sent(acme)
    )

    refused = Verdict.SOURCE_RATE
    assert verdicts(answers) == [Verdict.APPENDED, refused, Verdict.DUPLICATE, Verdict.CONFLICT, refused]
    assert answers[2].id == first.leads[0].id
    assert backend.waiting() == on_day(backend) == int(backend.client.get(ACME_RATE)) == 1


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [(SourceLimits("acme", rate=1), Verdict.SOURCE_RATE), (SourceLimits("acme", daily_cap=1), Verdict.SOURCE_CAP)],
    ids=["rate", "cap"],
)
def test_the_key_of_a_refused_lead_is_not_remembered(
    backend: Backend, minute: int, limits: SourceLimits, refusal: Verdict
):
    more = SourceLimits("acme", rate=2, daily_cap=2)

    answers = submit(backend, sent(limits), sent(limits, key="order"), sent(more, key="order"), sent(more, key="order"))

    assert verdicts(answers) == [Verdict.APPENDED, refusal, Verdict.APPENDED, Verdict.DUPLICATE]
    assert backend.waiting() == 2


@pytest.mark.parametrize(
    ("limits", "changes", "refusal"),
    [
        (SourceLimits("acme", rate=2, daily_cap=9), {}, Verdict.SOURCE_RATE),
        (SourceLimits("acme", rate=9, daily_cap=2), {}, Verdict.SOURCE_CAP),
        (SourceLimits("acme", rate=9, daily_cap=9), {"queue_max": 2}, Verdict.FULL),
        (SourceLimits("acme", rate=9, daily_cap=9), {"rate_limit": 1}, Verdict.RATE_LIMITED),
    ],
    ids=["rate", "cap", "queue", "ip"],
)
def test_what_is_refused_does_not_count(
    backend: Backend, minute: int, limits: SourceLimits, changes: dict[str, int], refusal: Verdict
):
    ip = f"{RATE_PREFIX}192.0.2.1" if "rate_limit" in changes else ""

    answers = submit(
        backend,
        sent(limits, NOON, NOON)._replace(rate_key=ip),
        *(sent(limits)._replace(rate_key=ip) for _ in range(3)),
        **changes,
    )

    assert verdicts(answers) == [Verdict.APPENDED, *[refusal] * 3]
    assert backend.waiting() == on_day(backend) == int(backend.client.get(ACME_RATE)) == 2
    # And what was not counted is there to be used
    roomy = SourceLimits("acme", rate=9, daily_cap=9)
    assert verdicts(submit(backend, sent(roomy, *[NOON] * 8), sent(roomy, *[NOON] * 7))) == [
        Verdict.SOURCE_RATE,
        Verdict.APPENDED,
    ]


def test_sources_do_not_take_room_from_each_other(backend: Backend, minute: int):
    # Given sources whose names begin alike, each with room for two
    sources = [SourceLimits(name, rate=2, daily_cap=2) for name in ("acme", "acme-2", "acme.eu", "2")]

    async def work(first: Line, second: Line) -> list[AppendResult]:
        return await asyncio.gather(*(line.submit(sent(each)) for each in sources for line in (first, second) * 2))

    answers = run(backend, work, lines=2)

    for number in range(len(sources)):
        found = Counter(verdicts(answers[number * 4 : number * 4 + 4]))
        assert found == {Verdict.APPENDED: 2, Verdict.SOURCE_RATE: 2}
    assert [on_day(backend, each.name) for each in sources] == [2] * len(sources)


def test_a_rate_ends_with_the_minute_of_redis(backend: Backend, minute: int):
    acme = SourceLimits("acme", rate=3)

    for _ in range(2):
        submit(backend, sent(acme))
        assert backend.client.expiretime(ACME_RATE) == minute

    # When the minute is over, the next begins anew
    submit(backend, sent(acme))
    assert verdicts(submit(backend, sent(acme))) == [Verdict.SOURCE_RATE]
    backend.client.pexpire(ACME_RATE, 1)
    until(lambda: not backend.client.exists(ACME_RATE))
    assert verdicts(submit(backend, sent(acme))) == [Verdict.APPENDED]
    # Of the day's counts none is over
    assert on_day(backend) == 4
    assert backend.client.ttl(SOURCES_ACCEPTED) == -1


def test_a_change_of_a_limit_holds_for_what_was_accepted_before(backend: Backend):
    wide, narrow = SourceLimits("acme", daily_cap=5), SourceLimits("acme", daily_cap=2)

    answers = submit(
        backend, sent(wide, *[NOON] * 3), sent(narrow), sent(wide, *[NOON] * 2), sent(SourceLimits("acme"))
    )

    assert verdicts(answers) == [Verdict.APPENDED, Verdict.SOURCE_CAP, Verdict.APPENDED, Verdict.APPENDED]
    assert answers[1].source_used == 3


def test_a_users_leads_touch_nothing_of_sources(backend: Backend):
    assert verdicts(submit(backend, one_lead())) == [Verdict.APPENDED]

    assert not backend.client.exists(SOURCES_ACCEPTED)
    assert backend.client.keys(f"{SOURCE_RATE_PREFIX}*") == []


def test_a_source_without_limits_is_counted_and_has_no_rate(backend: Backend):
    assert verdicts(submit(backend, sent(SourceLimits("acme"), *[NOON] * 3))) == [Verdict.APPENDED]

    assert on_day(backend) == 3
    assert backend.client.keys(f"{SOURCE_RATE_PREFIX}*") == []


def test_accepted_leads_of_a_source_are_counted_in_the_hour_and_day_of_their_ids(backend: Backend):
    # Given leads of two sources and of a user around the edges of hours and days
    edges = [NOON, NOON + 1, NOON + HOUR * MICROS - 1, NOON + HOUR * MICROS, NEXT_DAY - 1, NEXT_DAY, NEXT_DAY + 1]
    of = {"acme": edges, "globex": edges[2:5] * 2}

    answers = submit(
        backend,
        one_lead(),
        *(sent(SourceLimits("acme"), each) for each in edges),
        sent(SourceLimits("globex"), *of["globex"]),
    )

    assert {*verdicts(answers)} == {Verdict.APPENDED}
    expected = Counter(
        Bucket(width, micros // MICROS // width * width, source)
        for source, moments in of.items()
        for micros in moments
        for width in SOURCE_WIDTHS
    )
    assert counted(backend) == expected
