"""ingest_api.reads.pages: every page is what sorting all leads in Python gives, in few statements."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine, event

from ingest_api.parameters.lists import ListQuery
from ingest_api.reads import index_pages, pages
from ingest_api.reads.index_pages import Costly
from ingest_api.reads.pages import Page
from schema.counts import maintain, totals
from schema.counts.lookup import BucketCache
from schema.counts.totals import DataVersion
from schema.database import engines
from tests.integration.backends import Backend
from tests.integration.lead_list import (
    DAY,
    FILTERS,
    ORDERS,
    ROWS,
    SECOND,
    SORTS,
    START,
    find,
    ids_of,
    matching,
    query,
    row_at,
)
from workers.store import insertion

Filters = dict[str, Any]


@pytest.fixture
def empty(backend: Backend) -> Iterator[Engine]:
    """The connections of a reader to an empty database."""
    engine = engines.reader(backend.settings.replica_url, timeout=5, pool_size=1)
    yield engine
    engine.dispose()


@pytest.fixture
def filled(backend: Backend, empty: Engine) -> Engine:
    """The connections of a reader to the leads of ROWS, stored by a few batches."""
    with backend.engine.connect() as connection:
        for number, start in enumerate(range(0, len(ROWS), 100)):
            insertion.store(connection, ROWS[start : start + 100], slot=number)
    return empty


def walk_pages(reader: Engine, wanted: ListQuery) -> list[bytes]:
    """Return the ids of all pages by number, and check each page's total."""
    expected = len(matching(wanted))
    found: list[bytes] = []
    number = 1
    while True:
        page = find(reader, replace(wanted, page=number))
        assert page.total == expected
        if not page.rows:
            return found
        assert (page.after is None) == (number * wanted.limit >= expected)
        found += ids_of(page)
        number += 1


def walk_cursors(reader: Engine, wanted: ListQuery) -> list[bytes]:
    """Return the ids of all pages by cursor."""
    page = find(reader, wanted)
    found = ids_of(page)
    while page.after is not None:
        page = find(reader, replace(wanted, page=None), page.after)
        assert page.rows
        found += ids_of(page)
    return found


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_pages_and_cursors_walk_the_whole_list_in_order(filled: Engine, order: str, filters: Filters):
    for sort in SORTS:
        wanted = query(sortBy=sort, sortOrder=order, limit=71, **filters)

        expected = matching(wanted)

        assert expected, "the filter leaves nothing to compare"
        assert walk_pages(filled, wanted) == expected
        assert walk_cursors(filled, wanted) == expected


@pytest.mark.parametrize(
    ("number", "limit"), [(1, 1), (2, 1), (250, 1), (499, 1), (len(ROWS), 1), (1, 100), (2, 100), (5, 100)]
)
def test_any_page_can_be_jumped_to(filled: Engine, number: int, limit: int):
    for sort in SORTS:
        for order in ORDERS:
            wanted = query(sortBy=sort, sortOrder=order, limit=limit, page=number)
            start = (number - 1) * limit
            page = find(filled, wanted)
            assert ids_of(page) == matching(wanted)[start : start + limit]
            assert (page.after is None) == (start + limit >= len(ROWS))


@pytest.mark.parametrize("filters", [{}, *FILTERS[1:4], FILTERS[7]], ids=str)
def test_a_page_past_the_end_is_empty_and_knows_the_total(filled: Engine, filters: Filters):
    for sort, number in product(SORTS, (1000, 10**15)):
        page = find(filled, query(sortBy=sort, page=number, limit=100, **filters))
        assert (page.rows, page.after) == ([], None)
        assert page.total == len(matching(query(**filters)))


def test_an_empty_table_is_an_empty_list(empty: Engine):
    for sort, filters in product(SORTS, FILTERS):
        assert find(empty, query(sortBy=sort, **filters)) == Page([], 0, None, DataVersion(0, 0, 0, 0))


def test_a_filter_that_nothing_passes_is_an_empty_list(filled: Engine):
    nothing = [
        {"email": "nobody@example.com"},
        {"createdFrom": "2027-01-01"},
        {"createdTo": "1970-01-01"},
        {"createdFrom": "9999-12-31"},
        {"createdFrom": "2026-03-02", "createdTo": "2026-03-01"},
        *({"duplicates": way, "createdFrom": "2026-03-02", "createdTo": "2026-03-01"} for way in ("only", "exclude")),
        *({"duplicates": way, "source": "nobody"} for way in ("only", "exclude")),
    ]
    for sort, filters in product(SORTS, nothing):
        page = find(filled, query(sortBy=sort, **filters))
        assert (page.rows, page.total, page.after) == ([], 0, None)


def test_a_lead_stored_between_two_pages_by_cursor_moves_no_other(backend: Backend, filled: Engine):
    # Given the first page, newest first
    wanted = query(limit=10)
    page = find(filled, wanted)
    expected = matching(wanted)[10:20]

    # When a newer lead is stored
    with backend.engine.connect() as connection:
        insertion.store(connection, [row_at(START + 100 * DAY, random.Random(1))], slot=0)

    # Then the next page begins where the first ended
    assert ids_of(find(filled, replace(wanted, page=None), page.after)) == expected


def test_a_known_start_is_not_used_for_other_data(backend: Backend, filled: Engine):
    # Given a page of which it is known where it begins
    wanted = query(limit=10, page=30)
    page = find(filled, wanted)
    assert page.start is not None
    with filled.connect() as connection:
        known = pages.fetch_page_from(connection, wanted, page.start)
    assert known is not None
    assert ids_of(known) == ids_of(page) == matching(wanted)[290:300]

    # When a newer lead is stored
    with backend.engine.connect() as connection:
        insertion.store(connection, [row_at(START + 100 * DAY, random.Random(1))], slot=0)

    # Then the page begins elsewhere, and is looked for
    with filled.connect() as connection:
        assert pages.fetch_page_from(connection, wanted, page.start) is None


def test_a_page_takes_a_few_statements_and_counts_no_rows(filled: Engine):
    for sort, order, number in product(SORTS, ORDERS, (1, 7, 11)):
        statements: list[str] = []

        def note(*arguments: Any, found: list[str] = statements) -> None:
            found.append(arguments[2])

        with filled.connect() as connection:
            event.listen(connection, "before_cursor_execute", note)
            pages.fetch_page(
                connection, query(sortBy=sort, sortOrder=order, page=number, limit=71), None, BucketCache()
            )

        assert 1 <= len(statements) <= 8
        assert not [each for each in statements if "count(" in each.lower() and "FROM leads" in each]


@pytest.mark.parametrize("filters", [{}, {"source": "acme"}], ids=str)
@pytest.mark.parametrize("way", ["only", "exclude"])
def test_totals_without_duplicates_or_of_them_alone_count_no_rows(filled: Engine, way: str, filters: Filters):
    wanted = query(duplicates=way, limit=1, **filters)
    statements: list[str] = []

    with filled.connect() as connection:
        event.listen(connection, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
        page = pages.fetch_page(connection, wanted, None, BucketCache())

    assert page.total == len(matching(wanted)) > 0
    assert len(statements) <= 6
    assert not [each for each in statements if "count(" in each.lower()]


def test_most_leads_of_a_time_are_no_duplicates_and_are_not_counted(filled: Engine, monkeypatch: pytest.MonkeyPatch):
    # Given a bound between the numbers of duplicates of a time and of the other leads
    without, alone = (query(duplicates=way, createdFrom="2026-02-20", limit=7) for way in ("exclude", "only"))
    duplicates, others = len(matching(alone)), len(matching(without))
    monkeypatch.setattr(index_pages, "MATCH_MAX", (duplicates + others) // 2)
    assert duplicates < index_pages.MATCH_MAX < others

    # Then both lists have their pages
    for wanted, total in ((without, others), (alone, duplicates)):
        page = find(filled, wanted)
        assert (page.total, ids_of(page)) == (total, matching(wanted)[:7])

    # And none when there are more duplicates
    monkeypatch.setattr(index_pages, "MATCH_MAX", duplicates - 1)
    for wanted in (without, alone):
        with pytest.raises(Costly, match="narrow them with createdFrom and createdTo") as caught:
            find(filled, wanted)
        assert caught.value.parameter == "duplicates"


def test_pages_of_duplicates_that_are_far_from_both_ends_are_refused(filled: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(index_pages, "SKIP_MAX", 20)
    wanted = query(duplicates="only", limit=10)
    assert len(matching(wanted)) > 100

    with pytest.raises(Costly, match="With `duplicates`, pages can be reached") as caught:
        find(filled, replace(wanted, page=6))
    assert caught.value.parameter == "page"
    assert ids_of(find(filled, replace(wanted, page=3))) == matching(wanted)[20:30]


def test_a_narrow_filter_bounds_the_leads_that_are_looked_at(filled: Engine, monkeypatch: pytest.MonkeyPatch):
    # Given more leads of an address than a request counts, and fewer duplicates among them
    wanted = query(duplicates="only", email="a@example.com")
    everything = replace(wanted, is_duplicate=None)
    monkeypatch.setattr(index_pages, "MATCH_MAX", len(matching(everything)) - 1)
    assert len(matching(wanted)) < index_pages.MATCH_MAX

    with pytest.raises(Costly) as caught:
        find(filled, wanted)

    assert caught.value.parameter == "email"


@pytest.mark.parametrize("filters", [each for each in FILTERS if "duplicates" in each], ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_an_export_walks_the_list_from_end_to_end(filled: Engine, order: str, filters: Filters):
    wanted = query(sortOrder=order, limit=29, **filters)
    found: list[bytes] = []
    with filled.connect() as connection:
        while rows := pages.scan(connection, wanted, found[-1] if found else None):
            found += [bytes(row.id) for row in rows]

    assert found == matching(wanted)


def test_while_a_month_is_removed_duplicates_before_it_are_in_no_list(backend: Backend, filled: Engine):
    # Given a retention that has begun to remove what came before noon, and is cut short
    day = (START - START % DAY) // SECOND * SECOND
    with backend.engine.begin() as connection:
        totals.lock(connection)
        totals.set_cutoff(connection, day)
        maintain.subtract_expired(connection, day)

    for way, filters in product(("only", "exclude"), ({}, {"source": "acme"}, {"createdTo": "2026-03-02"})):
        wanted = query(duplicates=way, limit=100, sortOrder="ASC", **filters)
        expected = matching(replace(wanted, created_from=day))
        assert len(expected) < len(matching(wanted))
        page = find(filled, wanted)
        assert (page.total, ids_of(page)) == (len(expected), expected[:100])


@pytest.mark.parametrize("filters", [{"email": "a@example.com"}, {"createdFrom": "2026-03-01"}], ids=str)
def test_a_filter_that_leaves_too_many_to_sort_says_so(
    filled: Engine, filters: Filters, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(index_pages, "SORT_MAX", 50)

    with pytest.raises(Costly):
        find(filled, query(sortBy="lastName", **filters))

    assert find(filled, query(sortBy="createdAt", **filters)).total > 50
