"""ingest_api.reads.pages: every page is what sorting all leads in Python gives, in few statements."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from sqlalchemy import Engine, event

from ingest_api.parameters.kinds import parse
from ingest_api.parameters.lists import LIST_QUERY, ListQuery
from ingest_api.reads import index_pages, pages
from ingest_api.reads.cursor import After
from ingest_api.reads.index_pages import SORT_COLUMNS, Costly
from ingest_api.reads.pages import Page
from schema.counts import maintain, totals
from schema.counts.lookup import BucketCache
from schema.counts.totals import DataVersion
from schema.database import engines
from schema.database.lead_row import LeadRow
from schema.lead import lead_id
from tests.integration.backends import Backend
from workers.store import insertion

# 2026-03-01T12:00:00Z, in microseconds since 1970.
START = 1_772_366_400_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND

FIRST_NAMES = ["Ada", "ada", "Émile", "Zoë", "Li", "Ω", "😀", "O'Neil", "Ada B", "ADA"]
EMAILS = [f"{name}@example.com" for name in ("a", "A", "b", "c+d", "long.name", "z")]
SOURCES = ["acme", "globex", None]
PHONES = ["+442071234567", "442071234567", "+15551234567"]

SORTS = ["createdAt", "firstName", "lastName", "email"]
ORDERS = ["ASC", "DESC"]

Filters = dict[str, Any]


def row_at(micros: int, dice: random.Random) -> LeadRow:
    created = lead_id.time_of(lead_id.at(micros)).strftime("%Y-%m-%d %H:%M:%S.%f")
    return LeadRow(
        id=lead_id.at(micros, dice.getrandbits(64)),
        first_name=dice.choice(FIRST_NAMES),
        last_name=dice.choice(["Lovelace", "Ng"]) if dice.random() < 0.8 else f"N{dice.randrange(10**6)}",
        email=dice.choice(EMAILS),
        phone=dice.choice(PHONES),
        date_of_birth="1990-12-10",
        additional_data=None,
        created_at=created,
        updated_at=created,
    )


def make_rows() -> list[LeadRow]:
    """Return 500 leads: 300 within one second, the others over a minute, a day and forty days."""
    dice = random.Random(7)
    times = set(random.Random(8).sample(range(START, START + SECOND), 300))
    for span in (60 * SECOND, DAY, 40 * DAY):
        times.update(START - span // 2 + dice.randrange(span) for _ in range(67))
    rows = [row_at(micros, dice) for micros in times]
    dice.shuffle(rows)
    # Of two sources and of users, and a third of them duplicates.
    sources = random.Random(9)
    return [
        row._replace(source=sources.choice(SOURCES), duplicate_of=first, is_duplicate=first is not None)
        for row in rows
        for first in [sources.choice([None, None, lead_id.FIRST_ID])]
    ]


ROWS = make_rows()


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


def query(**parameters: Any) -> ListQuery:
    return parse(LIST_QUERY, {name: str(value) for name, value in parameters.items()})


def matching(wanted: ListQuery) -> list[bytes]:
    """Return the ids of the whole list, by sorting in Python."""
    column = SORT_COLUMNS[wanted.sort].name
    found = [
        row
        for row in ROWS
        if wanted.email in (None, row.email)
        and wanted.phone in (None, row.phone)
        and wanted.source in (None, row.source)
        and wanted.is_duplicate in (None, row.is_duplicate)
        and (wanted.created_from is None or lead_id.micros_of(row.id) >= wanted.created_from)
        and (wanted.created_to is None or lead_id.micros_of(row.id) <= wanted.created_to)
    ]
    found.sort(key=lambda row: (getattr(row, column), row.id), reverse=not wanted.ascending)
    return [row.id for row in found]


def find(reader: Engine, wanted: ListQuery, after: After | None = None) -> Page:
    """Find a page as the API does: in one snapshot."""
    with reader.connect() as connection:
        return pages.fetch_page(connection, wanted, after, BucketCache())


def ids_of(page: Page) -> list[bytes]:
    return [bytes(row.id) for row in page.rows]


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


FILTERS: list[dict[str, Any]] = [
    {},
    {"email": "a@example.com"},
    {"email": "c+d@example.com"},
    {"phone": "+442071234567"},
    {"email": "A@example.com", "phone": "442071234567"},
    # From the middle of the second that holds 300 leads, to the middle of it, and within it.
    {"createdFrom": "2026-03-01T12:00:00.400000Z"},
    {"createdTo": "2026-03-01T12:00:00.400000Z"},
    {"createdFrom": "2026-03-01T12:00:00.250000Z", "createdTo": "2026-03-01T12:00:00.750000Z"},
    {"createdFrom": "2026-02-20", "createdTo": "2026-03-01"},
    {"email": "z@example.com", "createdFrom": "2026-03-01T12:00:00.500000Z"},
    {"phone": "+15551234567", "createdTo": "2026-03-01T14:00:00+02:00"},
    {"duplicates": "only"},
    {"duplicates": "exclude"},
    {"duplicates": "only", "source": "acme"},
    {"duplicates": "exclude", "source": "acme"},
    {"duplicates": "only", "createdFrom": "2026-03-01T12:00:00.250000Z", "createdTo": "2026-03-01T12:00:00.750000Z"},
    {"duplicates": "exclude", "createdFrom": "2026-02-20", "createdTo": "2026-03-01T12:00:00.750000Z"},
    {"duplicates": "exclude", "source": "globex", "createdTo": "2026-03-01T12:00:00.750000Z"},
    {"duplicates": "only", "email": "a@example.com"},
    {"duplicates": "exclude", "phone": "+15551234567", "source": "acme", "createdFrom": "2026-02-20"},
]


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
