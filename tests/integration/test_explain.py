"""EXPLAIN of every statement that the service sends: each uses an index, and none sorts the table."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from ingest_api.auth import users
from ingest_api.parameters.kinds import DUPLICATE_CHOICES
from ingest_api.parameters.lists import ListQuery
from ingest_api.reads import changes, pages
from ingest_api.reads.changes_cursor import ChangesCursor
from ingest_api.reads.conditions import index_of, wanted_values
from schema.counts import by_source, lookup
from schema.counts.widths import DAY, HOUR, MICROS, MINUTE
from schema.database import engines, idempotency, tables
from schema.database.lead_row import insert_rows
from schema.database.tables import idempotency_keys, metadata
from schema.lead import lead_id
from schema.ledger import read_ledger
from schema.queue import accepted_by_source, accepted_counts
from schema.queue.accepted_counts import Accepted
from schema.queue.dead_letters import DeadLetters
from tests.integration.backends import POISON, Backend, fields_of, servers_only
from tests.integration.lead_list import FILTERS, ORDERS, SORTS, find, query
from tests.integration.test_counts import START, rows_at
from tests.integration.workers import Worker
from workers.store import insertion
from workers.upkeep.maintenance import Maintenance
from workers.upkeep.sweep import Sweep

# A small table's statistics make a scan look cheap; so many rows do not.
ROWS = 4000


def fill(backend: Backend) -> None:
    """Store ROWS leads of 40 sources, of which two in three are duplicates."""
    times = [START * MICROS + number * 700_000 for number in range(ROWS)]
    rows = [
        row._replace(
            email=f"{number}@example.com",
            phone=f"+1{number}",
            first_name=f"A{number}",
            last_name=f"L{number}",
            source=f"source{number % 40}",
            duplicate_of=lead_id.at(0) if number % 3 else None,
            is_duplicate=bool(number % 3),
        )
        for number, row in enumerate(rows_at(times))
    ]
    with backend.engine.connect() as connection:
        for start in range(0, ROWS, 1000):
            insertion.store(connection, rows[start : start + 1000], start)


@pytest.fixture
def filled(backend: Backend) -> Backend:
    fill(backend)
    backend.database.analyze(f"{backend.engine.url.database}.leads")
    return backend


Plans = dict[str, list[Any]]  # the steps of each statement's plan


@contextmanager
def explained(*engines: Engine) -> Iterator[Plans]:
    """Ask the server, before each statement that is new, how it is going to carry it out."""
    plans: Plans = {}
    asking = create_engine(engines[0].url, poolclass=NullPool, paramstyle="format")

    def ask(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement in plans or not statement.startswith(("SELECT", "UPDATE", "DELETE")):
            return
        with asking.connect() as other:
            found = other.exec_driver_sql(f"EXPLAIN FORMAT=TRADITIONAL {statement}", parameters)
            plans[statement] = list(found.mappings().all())

    for engine in engines:
        event.listen(engine, "before_cursor_execute", ask)
    yield plans
    for engine in engines:
        event.remove(engine, "before_cursor_execute", ask)


@pytest.mark.slow
@servers_only
def test_every_read_uses_an_index_and_sorts_no_table(filled: Backend):
    reader = engines.reader(filled.settings.primary_url, timeout=10, pool_size=1)
    with explained(reader) as plans:
        mine: dict[str, Any] = {"source": "source7"}
        of_sources = [mine, mine | {"email": "7@example.com"}, mine | {"createdFrom": "2020-01-01"}]
        narrowed = [{}, *FILTERS, {"email": "7@example.com"}, *of_sources]
        of_duplicates = [each | {"duplicates": way} for each in narrowed for way in DUPLICATE_CHOICES]
        orders = product(SORTS, ORDERS, narrowed + of_duplicates, (1, 30, 390))
        for sort, order, filters, page in orders:
            wanted: ListQuery = query(sortBy=sort, sortOrder=order, page=page, **filters)
            found = find(reader, wanted)
            if found.after is not None:
                find(reader, wanted, found.after)
            with reader.connect() as connection:
                pages.scan(connection, wanted, None)
                if near := pages.start_of_short_offset(wanted):
                    pages.fetch_page_from(connection, wanted, near)
        with reader.connect() as connection:
            lookup.by_bucket(connection, MINUTE, START, START + DAY)
            lookup.before(connection, START * MICROS + 12_345)
            accepted_counts.by_bucket(connection, [Accepted(0, False, {})], DAY, START, START + DAY)
            for counts, source in product(by_source.KINDS, ("source7", by_source.OF_ALL)):
                counts.by_bucket(connection, source, HOUR, START, START + DAY)
            accepted_by_source.by_bucket(connection, [], "source7", DAY, START, START + DAY)
            idempotency.find(connection, bytes(32))
            users.authenticate(connection, "ada@example.com", "secret")
        with reader.connect() as connection:
            insertion.is_stored(connection, filled.stored().pop())
        with reader.connect() as connection, engines.snapshot(connection):
            read_changes(connection)

    assert len(plans) > 20
    assert_all_cheap(plans)
    reader.dispose()


def read_changes(connection: Connection) -> None:
    """Read what is new as all kinds of readers do: from the beginning, at the end, of one source."""
    end = changes.latest(connection)
    for limit, source in product((1, 100, 1000), (None, "source7")):
        cursor = ChangesCursor()
        for _ in range(3):
            cursor = changes.step(connection, cursor, limit, source).cursor
        changes.step(connection, end, limit, source)


@servers_only
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "leads_duplicate"),
        ({"createdFrom": "2020-01-01"}, "leads_duplicate"),
        ({"source": "source7"}, "leads_source_duplicate"),
        ({"source": "source7", "createdFrom": "2020-01-01"}, "leads_source_duplicate"),
        ({"source": "source7", "email": "7@example.com"}, "leads_email"),
        ({"phone": "+17"}, "leads_phone"),
    ],
    ids=str,
)
def test_duplicates_are_looked_up_on_their_index_unless_a_narrower_one_is_given(
    filled: Backend, filters: dict[str, Any], index: str
):
    # Given lists and exports with and without duplicates
    reader = engines.reader(filled.settings.primary_url, timeout=10, pool_size=1)
    for way, order in product(DUPLICATE_CHOICES, ORDERS):
        with explained(reader) as plans:
            wanted = query(sortOrder=order, duplicates=way, **filters)
            found = find(reader, wanted)
            if found.after is not None:
                find(reader, wanted, found.after)
            with reader.connect() as connection:
                pages.scan(connection, wanted, None)

        # Then ids come from that index, in its order, without a look at more rows than match
        steps = [step for plan in plans.values() for step in plan if step["table"] == "leads"]
        by_index = [step for step in steps if step["key"] != "PRIMARY"]
        assert by_index
        assert {step["key"] for step in by_index} == {index}
        assert not [step for step in by_index if "filesort" in (step["Extra"] or "")]
        if index.endswith("duplicate"):
            assert all("Using index" in step["Extra"] for step in by_index)
    reader.dispose()


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_sqlite_looks_filters_up_on_the_index_that_is_meant(backend: Backend):
    fill(backend)
    mine: dict[str, Any] = {"source": "source7"}
    narrowed = [{}, mine, {"email": "7@example.com"}, {"phone": "+17"}, mine | {"email": "7@example.com"}]
    ways: list[dict[str, Any]] = [{}, *({"duplicates": way} for way in DUPLICATE_CHOICES)]
    for filters, way, order in product(narrowed, ways, ORDERS):
        wanted = query(sortOrder=order, **filters, **way)
        if not wanted_values(wanted):
            continue
        plans = explained_by_sqlite(backend, wanted)

        # The statements that do not fetch rows by their ids
        found = [each for statement, plan in plans for each in plan if "leads.id IN" not in statement]
        assert any(f"INDEX {index_of(wanted)} (" in each for each in found), (wanted, found)
        for each in found:
            assert "leads USING" not in each or f"INDEX {index_of(wanted)} (" in each, (wanted, found)
            assert "TEMP B-TREE" not in each, (wanted, found)


def explained_by_sqlite(backend: Backend, wanted: ListQuery) -> list[tuple[str, list[str]]]:
    """Return the plans of the statements on leads that a list and an export send."""
    reader = engines.reader(backend.settings.primary_url, timeout=10, pool_size=1)
    plans: list[tuple[str, list[str]]] = []

    def ask(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM leads" in statement and not statement.startswith("EXPLAIN"):
            found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append((statement, [each.detail for each in found]))

    event.listen(reader, "before_cursor_execute", ask)
    found = find(reader, wanted)
    if found.after is not None:
        find(reader, wanted, found.after)
    with reader.connect() as connection:
        pages.scan(connection, wanted, None)
    reader.dispose()
    return plans


@servers_only
def test_everything_that_runs_by_itself_uses_an_index(filled: Backend):
    # Given a database like any other's, with keys, accepted leads and minutes that are over
    now = datetime.now(UTC).replace(tzinfo=None)
    keys = [
        {
            "key": each.to_bytes(32),
            "digest": bytes(32),
            "lead_id": bytes(16),
            "created_at": now - timedelta(days=9 if each < 100 else 0),
        }
        for each in range(ROWS)
    ]
    # Many more than are removed at once, or a scan would be the cheaper way.
    recent = rows_at([time.time_ns() // 1000 - each for each in range(5 * ROWS)])
    with filled.engine.begin() as connection:
        # This month's partition is as full as any.
        insert_rows(
            connection, [row._replace(email=f"{at}@example.com", phone=f"+2{at}") for at, row in enumerate(recent)]
        )
        connection.execute(idempotency_keys.insert(), keys)
        rows = [{"width": MINUTE, "bucket": 60 * each, "epoch": 1, "accepted": 1} for each in range(ROWS)]
        connection.execute(tables.accepted_counts.insert(), rows)
        hour = int(time.time()) // HOUR * HOUR
        of_sources = [
            {
                "source": f"source{each % 400}",
                "width": width,
                "bucket": (hour - width * (each // 400)) // width * width,
                "epoch": 1,
                "accepted": 1,
            }
            for each in range(ROWS)
            for width in (HOUR, DAY)
        ]
        connection.execute(tables.source_accepted_counts.insert(), of_sources)
        counted = [{**row, "slot": 0, "stored": 1} for row in of_sources]
        for row in counted:
            del row["epoch"], row["accepted"]
        connection.execute(tables.source_counts.insert(), counted)
        connection.execute(tables.duplicate_counts.insert(), counted)
    for table in metadata.sorted_tables:
        filled.database.analyze(f"{filled.engine.url.database}.{table.name}")
    worker = Worker(filled)
    settings = filled.with_settings(retention_months=1)

    # When all of it runs: batches, also with leads that are there or cannot be stored, the sweep, and the tending
    with explained(filled.engine, worker.engine) as plans:
        filled.refuse()
        filled.accept_all([fields_of(each, firstName=POISON if each == 3 else "Ada") for each in range(20)])
        worker.run()
        Sweep(filled.shards, filled.engine, settings).run()
        Maintenance(filled.engine, settings).run()
        with filled.engine.connect() as connection:
            read_ledger(connection, filled.shards)
            letter = next(iter(DeadLetters(filled.shards)))
        with filled.engine.connect() as connection:
            DeadLetters(filled.shards).drop(letter, connection)

    assert {each.split()[0] for each in plans} == {"SELECT", "DELETE", "UPDATE"}
    assert_all_cheap(plans)


# One row for each dropped or erased lead, for each who is kept out, and at most 64 of sums and positions: read whole.
SMALL_TABLES = ("dropped_leads", "erased_leads", "kept_out", "kept_out_salt", "lead_totals", "stored_positions")


def assert_all_cheap(plans: Plans) -> None:
    """Check each step of each plan."""
    for statement, plan in plans.items():
        if "information_schema" not in statement:
            for step in plan:
                assert_cheap(statement, step)


def assert_cheap(statement: str, step: Any) -> None:
    """Check a line of a plan: an index, no scan of the rows, and no sort but of a filter's few."""
    if step["table"] is None or str(step["table"]).startswith("<"):
        return
    if step["table"] in SMALL_TABLES:
        return
    said = f"{statement[:300]}\n{dict(step)}"
    assert step["type"] != "ALL", said
    assert step["type"] != "index" or "LIMIT" in statement, said
    assert step["key"], said
    if "filesort" in (step["Extra"] or ""):
        bounded = re.search(r"WHERE .*(email|phone|source|is_duplicate|id) (=|>=|<) ", statement, re.DOTALL)
        assert bounded or step["table"] == "lead_counts", said
