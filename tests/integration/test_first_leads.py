"""First leads in Redis and in the database: for how long each remembers a contact, and when it is asked."""

import time

import pytest

from ingest_api.intake.append import AppendRequest, NewLead
from schema.counts.widths import DAY, MICROS
from schema.database import first_leads as remembered
from schema.database.first_leads import FirstLead
from schema.lead import codec
from schema.queue import keys
from schema.queue.dead_letters import DeadLetters
from schema.queue.keys import FIRST_LEADS_SINCE, STREAM
from tests.integration.backends import POISON, Backend, fields_of
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
from tests.integration.workers import Worker
from workers.upkeep.maintenance import Maintenance


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
