"""workers.store: a batch becomes rows, each lead once, and leaves the queue only after COMMIT."""

import pytest
from sqlalchemy import select

from schema.database.tables import leads
from schema.lead import lead_id
from schema.queue import entries, keys
from tests.integration.backends import POISON, Backend, fields_of, servers_only
from tests.integration.workers import DiesAfterCommit, Worker
from tests.kit.servers import until
from workers.store import storing
from workers.store.batch import NEVER_FINISHED, StoringFailed


def test_a_batch_becomes_rows_and_leaves_the_queue(backend: Backend):
    # Given three leads in the queue
    ids = backend.accept(3)

    # When a ticket is fetched
    outcome = Worker(backend).run()

    # Then they are rows, counted, and nothing of them is left in Redis
    assert outcome == {"stored": 3, "duplicates": 0, "dead": 0}
    assert backend.stored() == set(ids)
    backend.assert_counted()
    assert (backend.waiting(), backend.pending()) == (0, 0)
    assert not backend.client.exists(keys.INDEX)


def test_a_row_holds_the_lead_as_it_was_accepted(backend: Backend):
    fields = fields_of(firstName="Žofie 😀", additionalData={"b": 1.5, "a": [None, "ü"]}, phone="15551234567")
    [accepted] = backend.accept_all([fields])

    Worker(backend).run()

    with backend.engine.connect() as connection:
        row = connection.execute(select(leads)).one()
    assert (row.first_name, row.phone, row.additional_data) == (
        "Žofie 😀",
        "15551234567",
        '{"b":1.5,"a":[null,"ü"]}',
    )
    assert row.date_of_birth.isoformat() == "1990-12-10"
    assert row.created_at == row.updated_at == lead_id.time_of(accepted).replace(tzinfo=None)


def test_an_empty_queue_is_nothing_to_do(backend: Backend):
    assert Worker(backend).run() == {"stored": 0, "duplicates": 0, "dead": 0}


@servers_only
def test_a_thousand_leads_are_one_insert(backend: Backend):
    # Given a worker that is connected already
    worker = Worker(backend)
    worker.run()
    backend.accept(1000)

    with backend.database.statements() as statements:
        assert worker.run()["stored"] == 1000

    inserts = [each for each in statements if each.startswith("INSERT INTO leads ")]
    assert len(inserts) == 1
    assert inserts[0].count("Lovelace") == 1000
    assert sum(each == "COMMIT" for each in statements) == 1


def test_a_ticket_goes_on_while_batches_are_full(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storing, "TICKET_TIME_BUDGET", 3600.0)
    backend.accept(25)

    assert Worker(backend, batch_size=10).run()["stored"] == 25


def test_a_ticket_ends_when_its_time_budget_is_over(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storing, "TICKET_TIME_BUDGET", 0)
    backend.accept(25)
    worker = Worker(backend, batch_size=10)

    assert [worker.run()["stored"] for _ in range(4)] == [10, 10, 5, 0]


def test_a_batch_of_thousands_leaves_the_queue_whole(backend: Backend):
    backend.accept(2500)

    assert Worker(backend, batch_size=2500).run()["stored"] == 2500

    assert (backend.waiting(), backend.pending()) == (0, 0)
    assert not backend.client.exists(keys.INDEX)


def test_an_entry_delivered_twice_is_one_row(backend: Backend):
    # Given a lead that is stored, and stands in the stream once more
    ids = backend.accept(1)
    [(_, entry)] = backend.client.xrange(keys.STREAM)
    Worker(backend).run()
    backend.client.xadd(keys.STREAM, entry)
    new = backend.accept(2)

    outcome = Worker(backend).run()

    assert outcome == {"stored": 2, "duplicates": 1, "dead": 0}
    assert backend.stored() == {*ids, *new}
    backend.assert_counted()
    assert (backend.waiting(), backend.pending(), backend.dead()) == (0, 0, {})


def test_one_lead_twice_in_a_batch_is_one_row(backend: Backend):
    ids = backend.accept(2)
    [(_, entry), _] = backend.client.xrange(keys.STREAM)
    backend.client.xadd(keys.STREAM, entry)

    Worker(backend).run()

    assert backend.stored() == set(ids)
    backend.assert_counted()
    assert backend.waiting() == 0


def test_what_a_worker_read_and_never_stored_is_claimed_by_another(backend: Backend):
    # Given a worker killed after it read and before its INSERT
    ids = backend.accept(5)
    Worker(backend).consumer.claim_and_read(3)

    # When others fetch tickets, then those two that are new are stored at once
    assert Worker(backend, claim_after=3600.0).run()["stored"] == 2

    # And the rest when the time to claim has come
    other = Worker(backend, claim_after=0.1)
    until(lambda: other.drain(backend))
    assert backend.stored() == set(ids)
    backend.assert_counted()


def test_a_worker_that_dies_between_commit_and_acknowledging_stores_each_lead_once(backend: Backend):
    # Given leads that are committed, and in the queue all the same
    ids = backend.accept(5)
    with pytest.raises(StoringFailed):
        Worker(backend, DiesAfterCommit).run()
    assert (backend.stored(), backend.pending()) == (set(ids), 5)

    # When another worker claims them together with new ones
    ids += backend.accept(2)
    other = Worker(backend)
    until(lambda: other.drain(backend))

    assert backend.stored() == set(ids)
    backend.assert_counted()
    assert backend.dead() == {}


def test_a_lead_that_is_stored_and_was_never_acknowledged_is_no_dead_letter(backend: Backend):
    # Given leads that are rows, and that were delivered more often than they may be
    ids = backend.accept(2)
    changes = {"deliveries_alone": 1, "deliveries_max": 2, "claim_after": 0.1}
    with pytest.raises(StoringFailed):
        Worker(backend, DiesAfterCommit, **changes).run()
    for _ in range(2):
        until(lambda: Worker(backend, **changes).consumer.claim_and_read(10))

    # When the next worker comes
    worker = Worker(backend, **changes)
    until(lambda: worker.drain(backend))

    # Then they are out of the queue, and nothing else
    assert backend.stored() == set(ids)
    assert backend.dead() == {}
    backend.assert_counted()


def test_an_error_of_redis_says_that_the_batch_failed_and_quotes_nothing(backend: Backend):
    backend.accept(1)

    with pytest.raises(StoringFailed, match=r"^queue: ConnectionError$"):
        Worker(backend, DiesAfterCommit).run()


@pytest.mark.parametrize("poisoned", [1, 10, 100])
def test_of_a_thousand_leads_only_the_poison_ones_become_dead_letters(backend: Backend, poisoned: int):
    # Given a database that refuses some of a thousand leads
    backend.refuse(POISON)
    every = 1000 // poisoned
    names = [POISON if number % every == every // 2 else "Ada" for number in range(1000)]
    ids = backend.accept_all([fields_of(number, firstName=name) for number, name in enumerate(names)])
    rejected = {each for each, name in zip(ids, names, strict=True) if name == POISON}

    # When they are stored
    outcome = Worker(backend).run()

    # Then those are dead with a reason, the others are rows
    assert outcome == {"stored": 1000 - poisoned, "duplicates": 0, "dead": poisoned}
    assert backend.stored() == set(ids) - rejected
    assert backend.dead() == dict.fromkeys(
        rejected, "OperationalError 1644" if backend.server else "IntegrityError SQLITE_CONSTRAINT_TRIGGER"
    )
    backend.assert_counted()
    assert (backend.waiting(), backend.pending()) == (0, 0)


def test_a_dead_letter_can_be_found_by_its_leads_id(backend: Backend):
    backend.refuse(POISON)
    [bad] = backend.accept_all([fields_of(firstName=POISON)])

    Worker(backend).run()

    [(letter, fields)] = backend.client.xrange(keys.DEAD)
    assert backend.client.hget(keys.INDEX, bad) == b"dead:" + letter
    assert entries.id_of(fields[b"lead"]) == bad


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"lead": "no JSON"}, "not JSON"),
        ({"lead": "{}"}, "no additionalData"),
        ({"lead": "[]"}, "TypeError in a field"),
        ({"other": "thing"}, "not JSON"),
    ],
)
def test_an_entry_that_holds_no_lead_becomes_a_dead_letter(backend: Backend, entry: dict[str, str], reason: str):
    backend.client.xadd(keys.STREAM, entry)
    ids = backend.accept(3)

    outcome = Worker(backend).run()

    assert outcome == {"stored": 3, "duplicates": 0, "dead": 1}
    assert backend.stored() == set(ids)
    assert backend.dead() == {None: reason}
    assert (backend.waiting(), backend.pending()) == (0, 0)


@pytest.mark.parametrize("broken", ["name", "key", "digest"])
def test_an_entry_of_a_form_no_column_takes_becomes_a_dead_letter(backend: Backend, broken: str):
    if broken == "digest" and backend.server is None:
        pytest.skip("SQLite stores bytes of any length")
    # Given an entry that the API would never write
    first, second = backend.accept(2)
    (name, entry), _ = backend.client.xrange(keys.STREAM)
    backend.client.xdel(keys.STREAM, name)
    entry |= {b"key": b"00" * 32, b"digest": b"0" * 32}
    match broken:
        case "name":
            entry[b"lead"] = entry[b"lead"].replace(b'"Ada 0"', b'{"a":1}')
        case "key":
            entry[b"key"] = b"\xff"
        case "digest":
            entry[b"digest"] = b"0" * 1000
    backend.client.xadd(keys.STREAM, entry)

    Worker(backend).run()

    assert backend.stored() == {second}
    assert list(backend.dead()) == [first]
    backend.assert_counted()


@servers_only
def test_unfinished_leads_are_tried_alone_and_only_the_exhausted_one_becomes_a_dead_letter(backend: Backend):
    # Given one lead among ten at which the database fails in a way that nobody foresaw
    backend.refuse(POISON, errno=1105)  # "Unknown error"
    ids = backend.accept_all([fields_of(number, firstName=POISON if number == 3 else "Ada") for number in range(10)])
    worker = Worker(backend, deliveries_alone=2, deliveries_max=4, claim_after=0.1)

    # When tickets go on coming
    def drained() -> bool:
        try:
            return worker.drain(backend)
        except StoringFailed:
            return False

    until(drained)

    # Then the nine others are rows
    assert backend.dead() == {ids[3]: NEVER_FINISHED}
    assert backend.stored() == {*ids} - {ids[3]}
    backend.assert_counted()


def test_a_poison_lead_that_stands_in_the_stream_twice_is_one_dead_letter(backend: Backend):
    # Given a lead that the database refuses, in the stream twice
    backend.refuse(POISON)
    backend.accept(1, firstName=POISON)
    ((_, fields),) = backend.client.xrange(keys.STREAM)
    backend.client.xadd(keys.STREAM, fields)

    # When both are tried
    outcome = Worker(backend).run()

    # Then there is one dead letter, and nothing waits
    assert outcome["dead"] == 1
    assert backend.client.xlen(keys.DEAD) == 1
    assert backend.waiting() == 0
