"""ingest_api.reads.changes: stored leads in the order of storing, each once and none left out."""

from typing import Any

import pytest
from sqlalchemy import event

from ingest_api.http.envelope import ApiError
from ingest_api.reads import changes
from ingest_api.reads.changes_cursor import ChangesCursor
from schema.counts import write
from schema.database import engines
from schema.lead.lead_id import LeadId
from tests.integration.backends import Backend
from tests.integration.changes_reader import Reader, insert_history, rows, store
from tests.integration.persons import erase
from tests.integration.test_counts import START
from tests.integration.workers import Worker


def test_leads_come_in_the_order_of_storing_whenever_they_were_created(backend: Backend):
    reader = Reader(backend)
    late = rows(3, START - 86400)

    first = store(backend, rows(3), slot=0)
    assert reader.follow() == first
    second = store(backend, late, slot=7)
    third = store(backend, rows(3, START + 10), slot=0)

    assert reader.follow() == [*first, *second, *third]
    assert reader.step()
    assert reader.follow() == [*first, *second, *third]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50, 1000])
def test_any_limit_leads_through_all(backend: Backend, limit: int):
    insert_history(backend, 5)
    expected = {row.id for row in rows(5)}
    for number in range(12):
        expected.update(store(backend, rows(1 + number % 5, START + 100 * (number + 1)), slot=number % 4))

    seen = Reader(backend, limit).follow()

    assert len(seen) == len(set(seen))
    assert set(seen) == expected


def test_what_was_stored_before_there_were_positions_comes_first(backend: Backend):
    new = store(backend, rows(3, START - 1000), slot=3)
    old = insert_history(backend, 5)

    for limit in (2, 5, 100):
        assert Reader(backend, limit).follow() == [*old, *new]


def test_a_reader_can_begin_with_what_is_stored_next(backend: Backend):
    insert_history(backend, 3)
    store(backend, rows(3, START + 100), slot=1)
    reader = Reader(backend)

    reader.go_to_the_end()

    assert reader.follow() == []
    new = store(backend, rows(2, START - 100), slot=1) + store(backend, rows(2, START + 200), slot=0)
    assert reader.follow() == new


def test_the_end_of_nothing_is_the_beginning(backend: Backend):
    reader = Reader(backend)

    reader.go_to_the_end()

    assert reader.follow() == []
    assert reader.cursor == ChangesCursor().encode()
    assert reader.follow() == []


def test_while_an_upgrade_is_not_finished_nobody_reads(backend: Backend):
    # Given sums that release 0.1 keeps
    store(backend, rows(1), slot=0)
    with backend.engine.begin() as connection:
        write.upsert(connection, {(0, 0): 1})
    reader = Reader(backend)

    for read in (reader.step, reader.go_to_the_end):
        with pytest.raises(ApiError) as caught:
            read()
        assert (caught.value.status_code, caught.value.reason) == (503, "upgrade_unfinished")


def test_a_source_reads_its_own_in_steps_of_all(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes, "SOURCE_STEP", 10)
    mine: list[LeadId] = []
    for number in range(6):
        store(backend, rows(9, START + 100 * number), slot=number % 2)
        if number in (0, 5):
            mine += store(backend, rows(3, START + 100 * number + 50, source="acme"), slot=number % 2)

    for limit in (1, 2, 100):
        assert Reader(backend, limit, source="acme").follow() == mine
    # Short or empty answers, with a cursor that has moved on
    reader = Reader(backend, limit=5, source="acme")
    numbers, cursors = [], [reader.cursor]
    while not reader.step():
        numbers.append(len(reader.seen))
        cursors.append(reader.cursor)
    assert numbers[:4] == [1, 3, 3, 3]
    assert len(set(cursors)) == len(cursors)
    assert {each["source"] for each in reader.leads} == {"acme"}
    assert Reader(backend, source="nobody").follow() == []


def test_erased_leads_are_no_longer_there(backend: Backend, ann: list[LeadId]):
    Worker(backend).run()
    reader = Reader(backend)
    read = list(reader.follow())
    assert set(ann) & set(read)

    erase(backend)

    assert set(Reader(backend).follow()) == backend.stored() < set(read)
    assert reader.follow() == read


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_sqlite_reads_by_the_index_of_the_order(backend: Backend):
    # Given what a step asks (the plans of MySQL and MariaDB are in test_explain.py)
    insert_history(backend, 50)
    store(backend, rows(50, START + 100), slot=2)
    asked: list[tuple[str, Any]] = []
    engine = engines.reader(backend.settings.primary_url, timeout=10, pool_size=1)
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, given, *_: asked.append((statement, given)))
    with engine.connect() as connection:
        changes.step(connection, ChangesCursor(), 100, None)
        of_leads = [each for each in asked if "stored_slot" in each[0].partition("WHERE")[2]]
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {each}", given).all() for each, given in of_leads]
    engine.dispose()

    # Then it seeks in that index, and sorts no table
    steps = [str(row.detail) for plan in plans for row in plan if "leads" in str(row.detail)]
    assert len(of_leads) == 2
    assert len(steps) == 2
    assert all(each.startswith("SEARCH leads USING COVERING INDEX leads_stored (stored_slot=?") for each in steps)
