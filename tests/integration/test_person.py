"""`python -m schema person`: a person is found everywhere, and erased whole, whenever the erasure is killed."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import event, func, select

from ingest_api.request_log.record import Record, encode
from schema.counts import lookup, totals
from schema.database import idempotency
from schema.database.tables import erased_leads, idempotency_keys, kept_out, leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId, new_lead_ids
from schema.ledger import read_ledger
from schema.person import erasure, files, places, removal
from schema.person.command import person as command
from schema.person.identity import Person
from schema.queue import keys
from schema.queue.request_pages import page_of
from tests.integration.backends import POISON, Backend, fields_of, servers_only
from tests.integration.test_database_trouble import blocked
from tests.integration.workers import DiesAfterCommit, Worker
from tests.kit.servers import until
from workers.store import insertion

ANN = {"email": "Ann.Lee@example.org", "phone": "+4930123456"}


def run(backend: Backend, *arguments: str) -> Result:
    environment = {
        "LEADS_REDIS_URL": backend.settings.redis_url,
        "LEADS_DATABASE_URL": backend.settings.database_url,
        "LEADS_DATA_DIR": str(backend.settings.data_dir),
    }
    return CliRunner(env=environment).invoke(command, list(arguments), catch_exceptions=False)


def erase(backend: Backend, *arguments: str) -> Result:
    result = run(backend, "erase", "--yes", *(arguments or ("--email", "ann.lee@EXAMPLE.org")))
    assert result.exit_code == 0, result.output
    return result


def shown(backend: Backend, *arguments: str) -> list[dict[str, Any]]:
    result = run(backend, "show", *(arguments or ("--email", "ann.lee@EXAMPLE.org")))
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def logged(backend: Backend, number: int, body: object, path: str = "/api/leads", query: str = "") -> None:
    """Put a request into the request log, which keeps nothing masked here."""
    record = Record(
        number, 5, f"r{number}", "POST", path, 400, "invalid", "::1", "", "", query, body, "", {"status": "error"}, ""
    )
    for key in (keys.REQUESTS, keys.REQUEST_ERRORS):
        backend.client.rpush(key, page_of([encode(record)]))
        backend.client.incr(f"{key}:held")


def off(backend: Backend) -> int:
    with backend.engine.connect() as connection:
        return read_ledger(connection, backend.client).imbalance


def erased(backend: Backend) -> int:
    with backend.engine.connect() as connection:
        return read_ledger(connection, backend.client).erased


def with_keys(backend: Backend, *fields: dict[str, Any]) -> list[LeadId]:
    """Append leads that came in one bulk request with an Idempotency-Key, or a single one."""
    key = idempotency.key_of("ada@example.com", f"order-{len(fields)}")
    ids = new_lead_ids(key, len(fields)) if len(fields) > 1 else [lead_id.new_lead_id()]
    backend.append_with_key(ids, list(fields), key)
    return ids


@pytest.fixture
def ann(backend: Backend) -> list[LeadId]:
    """Ids of Ann's leads: stored, dead, waiting; and three others. The queue is not drained."""
    backend.refuse(POISON)
    first = backend.accept_all([fields_of(1), fields_of(2, **ANN), fields_of(3, **ANN, firstName=POISON)])
    single = with_keys(backend, fields_of(4, **ANN))
    Worker(backend).run()
    backend.stop_refusing()
    bulk = with_keys(backend, fields_of(5), fields_of(6, **ANN))
    last = backend.accept_all([fields_of(7, phone="4930123456"), fields_of(8)])
    logged(backend, 1, {"email": "ANN.LEE@example.org "})
    logged(backend, 2, None, query="email=ann.lee%40example.org")
    logged(backend, 3, None, path=f"/api/leads/{lead_id.to_text(first[1])}")
    logged(backend, 4, {"email": "joann.lee@example.org"})
    return [*first[1:], *single, bulk[1], last[0]]


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


class Killed(BaseException):
    """The process is gone."""


def killed(*_: object, **__: object) -> None:
    raise Killed


# Where a run is cut short: the module, and the name of what it is about to do.
STEPS: dict[str, tuple[Any, str]] = {
    "before-traces": (removal.QueueRemoval, "remove_traces"),
    "before-rows": (erasure, "remove_rows"),
    "within-rows": (removal.removal, "subtract_erased"),
    "before-entries": (removal.QueueRemoval, "remove_entries"),
    "before-database-file": (files, "compact_sqlite"),
    "before-queue-file": (files, "rewrite_queue"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("drained", [False, True], ids=["at-once", "after-a-worker"])
def test_a_run_that_was_killed_is_finished_by_the_next(
    backend: Backend, ann: list[LeadId], step: str, drained: bool, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], killed)
        with pytest.raises(Killed):
            run(backend, "erase", "--yes", "--email", ANN["email"], "--phone", ANN["phone"])
    # A worker may store what is left of the queue meanwhile.
    if drained:
        Worker(backend).run()

    erase(backend, "--email", ANN["email"], "--phone", ANN["phone"])

    assert shown(backend, "--email", ANN["email"], "--phone", ANN["phone"]) == []
    assert (erased(backend), off(backend)) == (len(ann), 0)
    Worker(backend).run()
    assert (erased(backend), off(backend), len(backend.stored())) == (len(ann), 0, 3)
    backend.assert_counted()


@servers_only
def test_a_batch_that_is_being_stored_holds_back_the_erasure_and_is_erased_after_it(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
):
    # Given a worker that has looked for erased leads, and has not committed
    others = backend.accept(5)
    [anns] = backend.accept_all([fields_of(9, **ANN)])
    looked, go_on = threading.Event(), threading.Event()
    remember = idempotency.remember

    def wait_and_remember(*arguments: Any) -> None:
        looked.set()
        assert go_on.wait(60)
        remember(*arguments)

    monkeypatch.setattr(insertion.idempotency, "remember", wait_and_remember)
    worker = Worker(backend)
    with ThreadPoolExecutor(2) as pool:
        storing = pool.submit(worker.run)
        assert looked.wait(60)
        erasing = pool.submit(erase, backend)
        until(lambda: blocked(backend))
        go_on.set()
        assert storing.result(60)["stored"] == 6
        erasing.result(60)

    assert backend.stored() == set(others)
    assert anns not in backend.stored()
    assert (erased(backend), off(backend), backend.waiting()) == (1, 0, 0)
    backend.assert_counted()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_that_read_a_lead_before_it_was_erased_does_not_store_it(
    backend: Backend, moment: str, monkeypatch: pytest.MonkeyPatch
):
    """Erase between a batch's reading and its transaction, or between its COMMIT and the acknowledgement."""
    others = backend.accept(5)
    [anns] = backend.accept_all([fields_of(9, **ANN)])
    if moment == "before":
        store: Callable[..., insertion.Inserted] = insertion.store

        def erased_before(*arguments: Any, **options: Any) -> insertion.Inserted:
            monkeypatch.setattr(insertion, "store", store)
            erase(backend)
            return store(*arguments, **options)

        monkeypatch.setattr(insertion, "store", erased_before)
        assert Worker(backend).run() == {"stored": 5, "duplicates": 0, "dead": 0, "erased": 1}
    else:
        with pytest.raises(Exception, match="queue"):
            Worker(backend, DiesAfterCommit).run()
        assert anns in backend.stored()
        erase(backend)
        until(lambda: Worker(backend).drain(backend))

    assert backend.stored() == set(others)
    assert (erased(backend), off(backend), backend.waiting()) == (1, 0, 0)
    backend.assert_counted()


@servers_only
def test_a_lead_that_is_erased_in_the_middle_of_its_transaction_is_not_stored(backend: Backend):
    """The eraser's transaction ends while the worker's waits for the sums."""
    others = backend.accept(5)
    [anns] = backend.accept_all([fields_of(9, **ANN)])
    worker = Worker(backend)
    with backend.engine.connect() as connection, ThreadPoolExecutor(1) as pool:
        with connection.begin():
            removal.removal.lock(connection, [anns])
            storing = pool.submit(worker.run)
            until(lambda: blocked(backend))
            removal.note_erased(connection, [anns])
        assert storing.result(60) == {"stored": 5, "duplicates": 0, "dead": 0, "erased": 1}

    assert backend.stored() == set(others)
    assert (erased(backend), off(backend)) == (1, 0)
    backend.assert_counted()


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
