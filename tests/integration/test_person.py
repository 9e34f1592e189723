"""`python -m schema person`: a person is found everywhere, and erased whole, whenever the erasure is killed."""

import pytest
from sqlalchemy import event, func, select

from schema.counts import lookup, totals
from schema.database.tables import erased_leads, idempotency_keys, kept_out, leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId
from schema.person import places
from schema.person.identity import Person
from schema.queue import keys
from tests.integration.backends import Backend, fields_of
from tests.integration.persons import ANN, erase, erased, off, run, shown, with_keys
from tests.integration.workers import Worker
from tests.kit.servers import until


def test_a_person_is_shown_wherever_they_are(backend: Backend, ann: list[LeadId]):
    lines = shown(backend, "--email", "ANN.lee@example.org", "--phone", "0049 (30) 12-34-56")

    found = [line["place"] for line in lines]
    assert {each: found.count(each) for each in found} == {
        "row": 2,
        "dead letter": 1,
        "queue": 2,
        "idempotency key": 3,
        "request log": 3,
    }
    assert {line["id"] for line in lines if line["place"] == "row"} == {lead_id.to_text(ann[i]) for i in (0, 2)}
    assert [line["request_id"] for line in lines if line["place"] == "request log"] == ["r3", "r2", "r1"][::-1]


def test_an_erased_person_is_nowhere_and_everything_else_agrees(backend: Backend, ann: list[LeadId]):
    before = version(backend)

    erase(backend, "--email", "ann.lee@EXAMPLE.org", "--phone", "+49 30 123456")

    assert shown(backend, "--email", ANN["email"], "--phone", ANN["phone"]) == []
    assert (erased(backend), off(backend)) == (len(ann), 0)
    backend.assert_counted()
    after = version(backend)
    assert (after.erased, after.total) == (2, before.total - 2)
    assert after.progress > before.progress
    assert not any(backend.client.hexists(keys.INDEX, each) for each in ann)
    for each in (keys.REQUESTS, keys.REQUEST_ERRORS):
        assert backend.client.llen(each) == int(backend.client.get(f"{each}:held")) == 1
    # What is left is stored as ever
    Worker(backend).run()
    assert len(backend.stored()) == 3
    assert (erased(backend), off(backend), backend.waiting(), backend.dead()) == (len(ann), 0, 0, {})
    backend.assert_counted()


def version(backend: Backend) -> totals.DataVersion:
    with backend.engine.connect() as connection:
        return totals.version(connection)


def test_of_a_bulk_request_the_other_leads_keep_their_key(backend: Backend):
    theirs, anns = with_keys(backend, fields_of(1), fields_of(2, **ANN))
    [name] = backend.client.keys(f"{keys.IDEMPOTENCY_PREFIX}*")
    Worker(backend).run()

    erase(backend)

    assert backend.stored() == {theirs}
    assert backend.client.get(name)[16:] == places.OVERWRITTEN
    assert backend.client.ttl(name) > 0
    with backend.engine.connect() as connection:
        assert connection.execute(select(idempotency_keys.c.digest)).scalars().all() == [places.OVERWRITTEN]
    assert anns not in backend.stored()


def test_who_is_kept_out_is_accepted_and_ends_as_erased(backend: Backend):
    erase(backend, "--email", ANN["email"], "--phone", "49 30 123456", "--keep-out")
    others = backend.accept(2)

    backend.accept_all([fields_of(3, email="ANN.LEE@example.org"), fields_of(4, phone="4930123456")])
    outcome = Worker(backend).run()

    assert outcome == {"stored": 2, "duplicates": 0, "dead": 0, "erased": 2}
    assert backend.stored() == set(others)
    assert (erased(backend), off(backend), backend.waiting()) == (2, 0, 0)
    assert [line["place"] for line in shown(backend)] == ["kept out"]
    # And is let in again
    assert run(backend, "let-in", "--email", ANN["email"], "--phone", ANN["phone"]).output == "Let in again.\n"
    backend.accept_all([fields_of(5, **ANN)])
    assert Worker(backend).run()["stored"] == 1


def test_what_is_kept_of_who_is_kept_out_names_nobody(backend: Backend):
    erase(backend, "--email", ANN["email"], "--keep-out")

    with backend.engine.connect() as connection:
        [row] = connection.execute(select(kept_out)).all()
    assert len(row.hash) == 32
    assert b"ann" not in row.hash.lower()


def test_a_batch_without_erased_leads_asks_once_more_and_no_more(backend: Backend):
    statements: list[str] = []
    worker = Worker(backend)
    backend.accept(3)
    worker.run()
    event.listen(worker.engine, "before_cursor_execute", lambda *each: statements.append(each[2]))

    backend.accept(3)
    worker.run()

    assert sum("erased_leads" in each for each in statements) == 1
    # Which is read every two seconds, however many batches there are.
    assert sum("kept_out" in each for each in statements) <= 1


def test_a_queue_that_forbids_the_rewriting_is_one_clear_line(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    # Given a user who may do all but that
    backend.client.config_set("appendonly", "yes")
    until(lambda: not backend.client.info("persistence")["aof_rewrite_in_progress"])
    backend.client.execute_command("ACL", "SETUSER", "default", "-bgrewriteaof")
    try:
        result = run(backend, "erase", "--yes", "--email", ANN["email"])
    finally:
        backend.client.execute_command("ACL", "SETUSER", "default", "+@all")
        backend.client.config_set("appendonly", "no")

    assert result.exit_code == 1
    assert "run BGREWRITEAOF as its administrator" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the person by --email, --phone, or both"),
        (["--email", "ann"], "this is not an e-mail address"),
        (["--phone", "0301234"], "the number is needed in international form"),
    ],
)
def test_who_names_nobody_is_told_so(backend: Backend, arguments: list[str], said: str):
    for each in (["show"], ["erase", "--yes"]):
        result = run(backend, *each, *arguments)

        assert result.exit_code == 2
        assert said in result.output


def test_many_leads_of_a_busy_minute_are_erased_and_found_by_their_place(backend: Backend):
    fields = [fields_of(number, **(ANN if number % 3 == 0 else {})) for number in range(900)]
    ids = backend.accept_all(fields)
    Worker(backend).run()

    erase(backend)

    left = [each for number, each in enumerate(ids) if number % 3]
    assert backend.stored() == set(left)
    backend.assert_counted()
    with backend.engine.connect() as connection:
        assert totals.total(connection) == 600
        assert connection.execute(select(func.count()).select_from(erased_leads)).scalar_one() == 300
        for position in (0, 299, 599):
            place = lookup.locate(connection, position)
            assert place is not None
            bounds = (leads.c.id >= place.first, leads.c.id < place.last)
            query = select(leads.c.id).where(*bounds).order_by(leads.c.id).offset(place.skip).limit(1)
            assert bytes(connection.execute(query).scalar_one()) == left[position]
    assert off(backend) == 0


def test_addresses_are_found_in_any_spelling():
    person = Person.of("Ann@x.org", "+44 (20) 7123-4567")

    for text in ("ANN@X.ORG", "email=ann%40x.org&", "ann%2540x.org", '"ann\\u0040x.org"', "+442071234567"):
        assert person.is_named_in([text]), text
    assert person.is_named_in(["call 0044 (20) 7123 4567 now"])
    for text in ("joann@x.org", "ann@x.org.uk", "ann@x.organic", "442071234567890", "ann"):
        assert not person.is_named_in([text]), text
