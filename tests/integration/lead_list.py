"""The leads of a list, the filters to ask for, and what sorting all leads in Python gives."""

import random
from typing import Any

from sqlalchemy import Engine

from ingest_api.parameters.kinds import parse
from ingest_api.parameters.lists import LIST_QUERY, ListQuery
from ingest_api.reads import pages
from ingest_api.reads.cursor import After
from ingest_api.reads.index_pages import SORT_COLUMNS
from ingest_api.reads.pages import Page
from schema.counts.lookup import BucketCache
from schema.database.lead_row import LeadRow
from schema.lead import lead_id

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
