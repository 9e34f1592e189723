"""First leads of an erased person: Redis and the database forget them, and those of nobody else."""

import time

from schema.counts.widths import DAY
from schema.database.tables import leads
from schema.lead import codec
from schema.lead.lead_id import LeadId
from schema.queue import keys
from tests.integration.backends import Backend
from tests.integration.duplicates import DAYS, a_lead, contacts_in_database, found, sent, submit
from tests.integration.persons import erase
from tests.integration.workers import Worker


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
