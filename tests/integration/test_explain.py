"""EXPLAIN of every statement a read sends: each uses an index, and none sorts the table."""

import re
from itertools import product
from typing import Any

import pytest
from sqlalchemy import event

from ingest_api import lead_list
from ingest_api.list_query import ListQuery
from schema import accepted, counts, database, partitions, recount
from schema.accepted import Accepted
from schema.counts import DAY, MICROS, MINUTE
from tests.integration.backends import Backend, servers_only
from tests.integration.test_counts import START, rows_at
from tests.integration.test_lead_list import FILTERS, ORDERS, SORTS, find, query
from workers import insertion

# A small table's statistics make a scan look cheap; so many rows do not.
ROWS = 4000


@pytest.fixture
def filled(backend: Backend) -> Backend:
    times = [START * MICROS + number * 700_000 for number in range(ROWS)]
    rows = [
        row._replace(
            email=f"{number}@example.com", phone=f"+1{number}", first_name=f"A{number}", last_name=f"L{number}"
        )
        for number, row in enumerate(rows_at(times))
    ]
    with backend.engine.connect() as connection:
        for start in range(0, ROWS, 1000):
            insertion.store(connection, rows[start : start + 1000], start)
    backend.database.analyze(f"{backend.engine.url.database}.leads")
    return backend


@servers_only
def test_every_read_uses_an_index_and_sorts_no_table(filled: Backend):
    reader = database.reader(filled.settings.primary_url, timeout=10, pool_size=1)
    sent: dict[str, Any] = {}

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            sent[statement] = parameters

    event.listen(reader, "before_cursor_execute", note)
    for sort, order, filters, page in product(SORTS, ORDERS, [{}, *FILTERS, {"email": "7@example.com"}], (1, 30, 390)):
        wanted: ListQuery = query(sortBy=sort, sortOrder=order, page=page, **filters)
        found = find(reader, wanted)
        if found.after is not None:
            find(reader, wanted, found.after)
        with reader.connect() as connection:
            lead_list.follow(connection, wanted, None)
            if near := lead_list.near(wanted):
                lead_list.at(connection, wanted, near)
    with reader.connect() as connection:
        counts.by_bucket(connection, MINUTE, START, START + DAY)
        accepted.by_bucket(connection, Accepted(0, False, {}), DAY, START, START + DAY)
        recount.due(connection, 10)
        partitions.existing(connection)
    event.remove(reader, "before_cursor_execute", note)

    assert len(sent) > 20
    with reader.connect() as connection:
        for statement, parameters in sent.items():
            if "information_schema" in statement:
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN FORMAT=TRADITIONAL {statement}", parameters).mappings().all()
            for step in plan:
                assert_cheap(statement, step)
    reader.dispose()


def assert_cheap(statement: str, step: Any) -> None:
    """Check a line of a plan: an index, no scan of the rows, and no sort but of a filter's few."""
    if step["table"] is None or str(step["table"]).startswith("<"):
        return
    assert step["type"] != "ALL", f"{statement}\n{dict(step)}"
    assert step["key"], f"{statement}\n{dict(step)}"
    if "filesort" in (step["Extra"] or ""):
        bounded = re.search(r"WHERE .*(email|phone|id) (=|>=|<) ", statement, re.DOTALL)
        assert bounded or step["table"] == "lead_counts", f"{statement}\n{dict(step)}"
