"""Duplicates in ingest_api/intake/append.lua and in the rows: what is a person's first lead, and who remembers it."""

import asyncio
import itertools
import time
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select

from ingest_api.intake.append import NO_LEAD, AppendRequest, AppendResult, NewLead, Verdict, duplicates_of
from ingest_api.intake.shard_router import ShardRouter
from schema.counts.widths import DAY, MICROS
from schema.database import first_leads as remembered
from schema.database.first_leads import FirstLead
from schema.database.tables import first_leads, leads
from schema.lead import codec, lead_id
from schema.lead.contacts import contacts_of
from schema.lead.lead_id import LeadId
from schema.lead.source import SourceLimits
from schema.queue import keys
from schema.queue.dead_letters import DeadLetters
from schema.queue.keys import DEAD, FIRST_LEADS_SINCE, IDEMPOTENCY_PREFIX, STREAM
from schema.queue.moving import Moving
from schema.runtime.redis_clients import async_shards, blocking_shards
from schema.settings import Settings
from tests.integration.backends import POISON, Backend, fields_of
from tests.integration.flushes import Line, run
from tests.integration.persons import erase
from tests.integration.test_moving import fence, store
from tests.integration.workers import Worker
from tests.kit.servers import RedisServer
from workers.upkeep.maintenance import Maintenance

DAYS = 30

NOW = int(time.time()) * MICROS

_numbers = itertools.count(1)


def a_lead(moment: int = NOW, **fields: Any) -> NewLead:
    """Return a new lead, by default of a person of its own, of a moment in microseconds since 1970."""
    number = next(_numbers)
    person = {"email": f"ada{number}@example.com", "phone": f"+4420{number:08}"} | fields
    new_id = lead_id.at(moment, number)
    given = fields_of(**person)
    return NewLead(new_id, codec.encode(new_id, given), b"".join(contacts_of(given["email"], given["phone"])))


def again(lead: NewLead, after: float = 0.0) -> NewLead:
    """Return a lead of the same person, so many days later."""
    moment = lead_id.micros_of(lead.id) + int(after * DAY) * MICROS
    new_id = lead_id.at(moment, next(_numbers))
    text = lead_id.to_text(lead.id).encode()
    return NewLead(new_id, lead.payload.replace(text, lead_id.to_text(new_id).encode()), lead.contacts)


def sent(*leads: NewLead, days: int = DAYS, **changes: Any) -> AppendRequest:
    return AppendRequest(leads=leads, duplicate_days=days, **changes)


def submit(backend: Backend, *requests: AppendRequest, **changes: Any) -> list[AppendResult]:
    """Submit requests one after the other, as one API process that looks for duplicates."""

    async def work(line: Line) -> list[AppendResult]:
        return [await line.submit(each) for each in requests]

    return run(backend, work, **{"duplicate_days": DAYS} | changes)


def found(backend: Backend, *leads: NewLead, **changes: Any) -> list[LeadId | None]:
    """Send leads in a request each; return the first leads that they are duplicates of."""
    answers = submit(backend, *(sent(each) for each in leads), **changes)
    assert {each.verdict for each in answers} == {Verdict.APPENDED}
    return [first for each in answers for first in duplicates_of(each, 1)]


def rows(backend: Backend) -> dict[LeadId, LeadId | None]:
    """Return of each row the first lead that it is a duplicate of."""
    with backend.engine.connect() as connection:
        table = connection.execute(select(leads.c.id, leads.c.duplicate_of, leads.c.is_duplicate)).all()
    assert all(bool(row.is_duplicate) == (row.duplicate_of is not None) for row in table)
    return {bytes(row.id): row.duplicate_of and bytes(row.duplicate_of) for row in table}


def contacts_in_database(backend: Backend) -> dict[bytes, LeadId]:
    with backend.engine.connect() as connection:
        return {bytes(row.contact): bytes(row.lead_id) for row in connection.execute(select(first_leads))}


def forget_all(backend: Backend) -> None:
    """Let Redis lose what it remembers of contacts."""
    for name in backend.client.scan_iter(match=f"{keys.FIRST_LEADS_PREFIX}*"):
        backend.client.delete(name)


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


def test_contacts_stand_in_small_hashes_that_expire(backend: Backend):
    lead = a_lead()
    submit(backend, sent(lead), duplicate_redis_days=7)

    names = [name for name in backend.client.scan_iter(match="leads:first:*") if name != FIRST_LEADS_SINCE.encode()]
    today = int(time.time()) // DAY
    period = f"7:{today - today % 4}"

    assert {name.decode() for name in names} == {
        keys.first_leads_name(contact, period) for contact in (lead.contacts[:10], lead.contacts[10:])
    }
    for name in names:
        assert backend.client.object("encoding", name) == b"listpack"
        assert 7 * DAY < backend.client.ttl(name) <= 11 * DAY
        assert list(backend.client.hgetall(name).values()) == [lead.id]


def look_days(backend: Backend) -> list[bytes | None]:
    return [fields.get(b"look") for _, fields in backend.client.xrange(STREAM)]


def test_the_database_is_asked_while_redis_may_not_know(backend: Backend):
    # Given Redis that remembers from now on, then for long enough, and then fewer days than count
    submit(backend, sent(a_lead()))
    backend.client.set(FIRST_LEADS_SINCE, f"{int(time.time()) - 31 * DAY}:30")
    submit(backend, sent(a_lead()))
    submit(backend, sent(a_lead()), duplicate_redis_days=7)
    # And days that were fewer until now
    submit(backend, sent(a_lead()))
    # And leads that came without contacts
    backend.client.set(FIRST_LEADS_SINCE, f"{int(time.time()) - 31 * DAY}:30")
    submit(backend, AppendRequest(leads=(a_lead()._replace(contacts=b""),)), duplicate_days=0)
    submit(backend, sent(a_lead()))

    assert look_days(backend) == [b"30", None, b"30", b"30", None, b"30"]


def test_a_first_lead_that_redis_has_forgotten_is_found_in_the_database(backend: Backend):
    # Given a stored lead that Redis has forgotten
    first = a_lead()
    submit(backend, sent(first))
    worker = Worker(backend)
    worker.drain(backend)
    forget_all(backend)

    # When two more of the person come, with a third that has its address alone and one that nobody knows
    later = [again(first), again(first), a_lead(email=codec.decode(first.payload)["email"]), a_lead()]
    assert found(backend, *later) == [None, later[0].id, later[0].id, None]
    worker.drain(backend)

    # Then their rows name the first lead, and it stays remembered
    assert rows(backend) == {
        first.id: None,
        later[0].id: first.id,
        later[1].id: first.id,
        later[2].id: first.id,
        later[3].id: None,
    }
    known = contacts_in_database(backend)
    assert known[first.contacts[:10]] == known[first.contacts[10:]] == first.id
    assert known[later[2].contacts[10:]] == later[2].id


def test_the_database_counts_the_same_days(backend: Backend):
    first = a_lead(NOW - 60 * DAY * MICROS)
    submit(backend, sent(first))
    worker = Worker(backend)
    worker.drain(backend)
    forget_all(backend)
    within = again(first, DAYS - 0.01)
    submit(backend, sent(within))
    forget_all(backend)
    beyond = again(first, DAYS + 0.01)
    submit(backend, sent(beyond))
    worker.drain(backend)

    assert rows(backend) == {first.id: None, within.id: first.id, beyond.id: None}
    assert contacts_in_database(backend)[first.contacts[:10]] == beyond.id


def test_a_chain_over_the_days_of_redis_is_not_lost(backend: Backend):
    # Given days that Redis does not keep, and a person who comes again and again
    days, kept = 90, {"duplicate_days": 90, "duplicate_redis_days": 30}
    first = a_lead(NOW - 110 * DAY * MICROS)
    later = [again(first, each) for each in (65, 95, 110)]
    worker = Worker(backend)
    for lead in (first, later[0]):
        # When Redis has forgotten the first lead before the next one comes, but not the one before the third
        forget_all(backend)
        submit(backend, sent(lead, days=days), **kept)
        worker.drain(backend)
    submit(backend, sent(later[1], days=days), **kept)
    worker.drain(backend)
    forget_all(backend)
    submit(backend, sent(later[2], days=days), **kept)
    worker.drain(backend)

    # Then each row names one that came within the days
    assert rows(backend) == {
        first.id: None,
        later[0].id: first.id,
        later[1].id: later[0].id,
        later[2].id: later[0].id,
    }


def test_with_another_number_of_days_redis_begins_anew(backend: Backend):
    # Given a contact that is remembered for ten days
    first = a_lead()
    submit(backend, sent(first), duplicate_redis_days=10)

    # When thirty are wanted: its hash expires too early, though the periods may begin on the same day
    second = again(first)
    assert found(backend, second, duplicate_redis_days=30) == [None]

    # Then it is remembered anew, and the database is asked
    assert look_days(backend) == [b"30", b"30"]
    lives = [backend.client.ttl(name) for name in backend.client.scan_iter(match="leads:first:30:*")]
    assert len(lives) == 2
    assert min(lives) > 30 * DAY


def test_what_a_moving_queue_refuses_is_nobodys_first_lead(backend: Backend):
    with RedisServer() as other:
        settings = backend.with_settings(duplicate_days=DAYS, queue_next_url=other.url, queue_next_shards=1)
        shards = blocking_shards(settings, timeout=10)

        # Given a queue that moves, and a person in it
        person = a_lead()
        route(settings, sent(person))
        fence(backend, Moving(shards[:1], shards[1:], settings))

        # When a request that has duplicates refused holds the person with a new number, and then that number alone
        email, phone = (codec.decode(each.payload)[name] for each, name in ((person, "email"), (a_lead(), "phone")))
        (answer,) = route(
            settings, sent(a_lead(email=email, phone=phone), a_lead(phone=phone), refuses_duplicates=True)
        )

        # Then the second is new
        assert duplicates_of(answer, 2) == [person.id, None]
        assert int(other.client().xlen(STREAM)) == 1


def test_a_replayed_lead_stays_what_it_was(backend: Backend):
    # Given a first lead that becomes a dead letter, and a duplicate of it that is stored
    backend.refuse(POISON)
    first = a_lead(firstName=POISON)
    second = NewLead(again(first).id, b"", first.contacts)
    given = codec.decode(first.payload) | {"firstName": "Ada"}
    fields = {name: given[name] for name in fields_of()}
    second = second._replace(payload=codec.encode(second.id, fields))
    assert found(backend, first, second) == [None, first.id]
    worker = Worker(backend, dead_letter_max_share=1.0)
    worker.drain(backend)
    assert rows(backend) == {second.id: first.id}
    assert contacts_in_database(backend) == {}

    # When it is replayed
    backend.stop_refusing()
    letters = DeadLetters(backend.shards)
    assert letters.replay(next(iter(letters)))
    worker.drain(backend)

    # Then it is the first lead of its contacts
    assert rows(backend) == {first.id: None, second.id: first.id}
    assert set(contacts_in_database(backend).values()) == {first.id}


def test_a_later_first_lead_is_not_replaced_by_one_that_was_stored_late(backend: Backend):
    early, late = a_lead(NOW - 40 * DAY * MICROS), a_lead(NOW)
    contact = early.contacts[:10]

    with backend.engine.begin() as connection:
        remembered.remember(connection, [FirstLead(contact, late.id)])
        remembered.remember(connection, [FirstLead(contact, early.id)])

    assert contacts_in_database(backend) == {contact: late.id}


def test_old_first_leads_are_forgotten(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    # Given old and new first leads, of which few are looked at with one statement
    monkeypatch.setattr(remembered, "LOOKED_AT_MAX", 3)
    old, new = ([a_lead(NOW - days * DAY * MICROS) for _ in range(10)] for days in (38, 36))
    with backend.engine.begin() as connection:
        remembered.remember(connection, [FirstLead(each.contacts[:10], each.id) for each in (*old, *new)])

    # When maintenance runs
    done = Maintenance(backend.engine, backend.with_settings(duplicate_days=DAYS)).run()

    # Then the old ones are gone, and no others
    assert done["contacts"] == 10
    assert contacts_in_database(backend) == {each.contacts[:10]: each.id for each in new}
    # And a worker that does not look for duplicates removes nothing that others look for
    assert Maintenance(backend.engine, backend.with_settings(duplicate_days=0)).run()["contacts"] == 0


def remembered_in_redis(backend: Backend, *contacts: bytes) -> list[LeadId | None]:
    """Return the first leads of contacts of this period."""
    today = int(time.time()) // DAY
    period = f"{DAYS}:{today - today % (DAYS // 2)}"
    return [backend.client.hget(keys.first_leads_name(each, period), each[2:]) for each in contacts]


def test_an_erased_person_is_forgotten_and_others_are_not(backend: Backend):
    # Given the leads of a person, one with a number of somebody else, and one of the same name that is gone
    other, person = a_lead(), a_lead(email="Ann.Lee@example.org")
    shared = a_lead(email="ann.lee@example.org", phone=codec.decode(other.payload)["phone"])
    assert found(backend, other, person, shared) == [None, None, other.id]
    Worker(backend).drain(backend)

    # When the person is erased by the address
    erase(backend)

    # Then what they were the first of is forgotten, and what somebody else was is not
    gone = [*(person.contacts[at : at + 10] for at in (0, 10)), shared.contacts[:10]]
    assert remembered_in_redis(backend, *gone) == [None, None, None]
    kept = [other.contacts[:10], other.contacts[10:]]
    assert remembered_in_redis(backend, *kept) == [other.id, other.id]
    assert contacts_in_database(backend) == dict.fromkeys(kept, other.id)


def test_an_erased_person_is_forgotten_without_a_row_too(backend: Backend):
    person = a_lead(email="ann.lee@example.org")
    submit(backend, sent(person))
    Worker(backend).drain(backend)
    with backend.engine.begin() as connection:
        connection.execute(leads.delete())

    erase(backend)

    assert remembered_in_redis(backend, person.contacts[:10]) == [None]
    assert person.contacts[:10] not in contacts_in_database(backend)


def route(settings: Settings, *requests: AppendRequest) -> list[AppendResult]:
    """Submit requests as an API process of a queue that may be moving."""

    async def work() -> list[AppendResult]:
        clients = async_shards(settings, connections=1)
        following = ShardRouter(clients[1:], settings, lambda *_: None) if clients[1:] else None
        router = ShardRouter(clients[:1], settings, lambda *_: None, next_queue=following)
        try:
            return [await router.submit(each) for each in requests]
        finally:
            await router.close()

    return asyncio.run(work())


def test_a_queue_that_moves_hands_its_first_leads_on(backend: Backend):
    with RedisServer() as other:
        settings = backend.with_settings(
            duplicate_days=DAYS, queue_next_url=other.url, queue_next_shards=1, dead_letter_max_share=1.0
        )
        shards = blocking_shards(settings, timeout=10)
        move = Moving(shards[:1], shards[1:], settings)

        # Given a person in the queue, which begins to move
        person, new = a_lead(), a_lead()
        assert route(settings, sent(person))[0].verdict is Verdict.APPENDED
        fence(backend, move)

        # When the person comes again, more than once, and a new one does
        later = [again(person), again(new), again(person), again(new)]
        answers = route(settings, *(sent(each) for each in later))

        # Then both queues' first leads are known, though nothing is stored yet
        assert [duplicates_of(each, 1)[0] for each in answers] == [person.id, None, person.id, later[1].id]
        assert int(other.client().xlen(STREAM)) == 4
        store(settings)
        assert rows(backend) == {
            person.id: None,
            later[0].id: person.id,
            later[1].id: None,
            later[2].id: person.id,
            later[3].id: later[1].id,
        }
        assert int(other.client().xlen(DEAD)) == 0
        known = contacts_in_database(backend)
        assert known[person.contacts[:10]] == person.id
        assert known[new.contacts[10:]] == later[1].id


def test_no_lead_is_no_id():
    assert lead_id.micros_of(NO_LEAD) > NOW
    assert NO_LEAD not in (lead_id.FIRST_ID, lead_id.LAST_ID)
