"""Duplicates in ingest_api/intake/append.lua and in the rows: what is a person's first lead, and what is not."""

import asyncio
import itertools
from collections import Counter

import pytest

from ingest_api.intake.append import NO_LEAD, AppendResult, Verdict, duplicates_of
from schema.counts.widths import DAY, MICROS
from schema.lead import codec, lead_id
from schema.lead.source import SourceLimits
from schema.queue.keys import IDEMPOTENCY_PREFIX
from tests.integration.backends import Backend
from tests.integration.duplicates import (
    DAYS,
    NOW,
    a_lead,
    again,
    contacts_in_database,
    forget_all,
    found,
    rows,
    sent,
    submit,
)
from tests.integration.flushes import Line, run
from tests.integration.workers import Worker


def test_of_many_equal_leads_at_once_one_is_the_first(backend: Backend):
    # Given a person of whom a hundred leads come at five processes at once
    person = a_lead()
    equal = [again(person) for _ in range(100)]

    async def work(*lines: Line) -> list[AppendResult]:
        pairs = zip(itertools.cycle(lines), equal, strict=False)
        return await asyncio.gather(*(line.submit(sent(each)) for line, each in pairs))

    answers = run(backend, work, lines=5, duplicate_days=DAYS)

    # Then one is the first, in the answers and in the rows
    firsts = [duplicates_of(each, 1)[0] for each in answers]
    (first,) = [lead.id for lead, found in zip(equal, firsts, strict=True) if found is None]
    assert Counter(firsts) == {None: 1, first: 99}
    worker = Worker(backend)
    while not worker.drain(backend):
        pass
    assert rows(backend) == {each.id: None if each.id == first else first for each in equal}
    assert contacts_in_database(backend) == {
        person.contacts[:10]: first,
        person.contacts[10:]: first,
    }


@pytest.mark.parametrize(("after", "is_duplicate"), [(0.5, True), (DAYS - 0.01, True), (DAYS + 0.01, False)])
def test_a_first_lead_counts_for_so_many_days(backend: Backend, after: float, is_duplicate: bool):
    first = a_lead(NOW - 40 * DAY * MICROS)
    later = again(first, after)

    assert found(backend, first, later) == [None, first.id if is_duplicate else None]


def test_the_first_that_comes_after_those_days_takes_its_place(backend: Backend):
    first = a_lead(NOW - 80 * DAY * MICROS)
    later = [again(first, days) for days in (20, 31, 50, 62)]

    assert found(backend, first, *later) == [None, first.id, None, later[1].id, None]


def test_a_lead_that_counts_for_nobody_is_remembered_for_others(backend: Backend):
    # Given leads of a source without days, of one person
    first = a_lead()
    unmarked = again(first)
    answers = submit(backend, sent(first, days=0), sent(unmarked, days=0), sent(again(first)))

    # Then they are no duplicates, and the first of them is the first for others
    assert [duplicates_of(each, 1) for each in answers] == [[None], [None], [first.id]]


def test_within_a_request_each_lead_is_compared_with_those_before_it(backend: Backend):
    person, other = a_lead(), a_lead()
    bulk = [person, other, again(person), again(other), again(person)]

    (answer,) = submit(backend, sent(*bulk))

    assert duplicates_of(answer, 5) == [None, None, person.id, other.id, person.id]


def test_refused_leads_are_not_appended_and_not_remembered(backend: Backend):
    # Given a first lead, and a request that has its duplicates refused, one of them with a new number
    first, new = a_lead(), a_lead()
    email = codec.decode(first.payload)["email"]
    changed = a_lead(email=email)

    # When it comes, and then a lead with that number
    answers = submit(
        backend,
        sent(first),
        sent(again(first), new, changed, again(new), refuses_duplicates=True),
        sent(again(first), refuses_duplicates=True),
        sent(a_lead(phone=codec.decode(changed.payload)["phone"])),
    )

    # Then only the new lead is appended, and the number is not known
    assert [each.verdict for each in answers] == [
        Verdict.APPENDED,
        Verdict.APPENDED,
        Verdict.SEEN_BEFORE,
        Verdict.APPENDED,
    ]
    assert duplicates_of(answers[1], 4) == [first.id, None, first.id, new.id]
    assert duplicates_of(answers[3], 1) == [None]
    assert backend.waiting() == 3


def test_refused_leads_count_against_no_cap(backend: Backend):
    acme = SourceLimits("acme", daily_cap=2)
    first, new = a_lead(), a_lead()

    answers = submit(
        backend,
        sent(first, source=acme),
        sent(again(first), again(first), new, source=acme, refuses_duplicates=True),
        sent(a_lead(), source=acme),
    )

    assert [each.verdict for each in answers] == [Verdict.APPENDED, Verdict.APPENDED, Verdict.SOURCE_CAP]


def test_what_the_cap_refuses_is_not_remembered(backend: Backend):
    acme = SourceLimits("acme", daily_cap=1)
    one, other = a_lead(), a_lead()

    answers = submit(backend, sent(one, source=acme), sent(other, source=acme), sent(again(other)))

    assert [each.verdict for each in answers] == [Verdict.APPENDED, Verdict.SOURCE_CAP, Verdict.APPENDED]
    assert duplicates_of(answers[2], 1) == [None]


def test_under_a_used_key_the_answer_is_that_of_the_first_time(backend: Backend):
    # Given a request with a key, some of whose leads are refused duplicates
    first, new = a_lead(), a_lead()
    key = {"key": f"{IDEMPOTENCY_PREFIX}{'0' * 64}", "digest": bytes(32), "key_absent_in_database": True}
    keyed = sent(again(first), new, refuses_duplicates=True, **key)
    before = submit(backend, sent(first), keyed)[1]

    # When the first lead is forgotten, and it comes again, with rules that are others now
    forget_all(backend)
    repeated = [submit(backend, keyed, sent(*keyed.leads, **key), sent(*keyed.leads, days=0, **key))]

    # Then its answer is the same
    assert duplicates_of(before, 2) == [first.id, None]
    for answer in repeated[0]:
        assert answer.verdict is Verdict.DUPLICATE
        assert (answer.firsts, answer.refuses) == (before.firsts, 1)
        assert answer.id == keyed.leads[0].id
    assert backend.waiting() == 2


def test_no_lead_is_no_id():
    assert lead_id.micros_of(NO_LEAD) > NOW
    assert NO_LEAD not in (lead_id.FIRST_ID, lead_id.LAST_ID)
