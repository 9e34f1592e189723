"""Finds one page of leads, in a bounded number of statements and without counting all rows.

In the order of creation the counts by time bucket lead to any page (schema.counts.lookup). In
another order, or with a filter, an index that ends in the id gives the page's ids; then the rows
are fetched by id.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Row, Select, bindparam, select

from ingest_api.parameters.lists import ListQuery
from ingest_api.reads.conditions import beyond, index_of, matching, offset_of, since, until, wanted_values
from ingest_api.reads.cursor import After
from ingest_api.reads.index_pages import (
    SORT_COLUMNS,
    count_matching,
    ids_by_column,
    ids_by_filter,
    ids_of,
    ids_sorted,
)
from schema.counts import lookup, totals
from schema.counts.by_source import DUPLICATE_COUNTS, OF_ALL, SOURCE_COUNTS
from schema.counts.lookup import BucketCache, KnownBuckets, Place
from schema.counts.totals import DataVersion
from schema.counts.widths import LEAF_SIZE
from schema.database.tables import leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId


@dataclass(frozen=True, slots=True)
class PageStart:
    """Where a page begins in the order of creation, at one data version."""

    version: DataVersion | None  # None: any
    bound: LeadId  # the page's rows are at or after it, in the list's order
    skip: int  # rows between the bound and the page


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its rows in order, the number of leads in the list, and the last row if there is a next page."""

    rows: Sequence[Row[Any]]
    total: int
    after: After | None
    version: DataVersion
    start: PageStart | None = None


def fetch_page(connection: Connection, query: ListQuery, after: After | None, cache: BucketCache) -> Page:
    """Return the page that `query` asks for, or the one after `after`. Buckets in `cache` are not read again.

    The connection must be in a snapshot, so that numbers and rows agree.

    Raises Costly.
    """
    version = totals.version(connection)
    asked = query
    if version.retention_cutoff:
        query = replace(query, created_from=max(version.retention_cutoff, query.created_from or 0))
    in_order = query.sort == "createdAt"
    if not _is_matched(query):
        span = _Span.of(connection, query, version)
        total = span.end - span.start
        if in_order:
            rows, place = _by_creation(connection, query, span, after, cache.of(version))
            start = None
            if place is not None and not span.bounded:
                skip = place.skip if query.ascending else place.stored - 1 - place.skip
                start = PageStart(version, place.first if query.ascending else place.last, skip)
            return _page(query, rows, total, version, start)
        if span.bounded:
            ids = ids_sorted(connection, query, total, "PRIMARY", after)
        else:
            ids = ids_by_column(connection, query, total, after)
    else:
        known = _known_total(connection, asked, version)
        total = _count(connection, query, version) if known is None else known
        if in_order or (query.sort == "email" and query.email is not None):
            ids = ids_by_filter(connection, query, total, after)
        else:
            ids = ids_sorted(connection, query, total, index_of(query), after)
    return _page(query, _rows(connection, ids), total, version)


def start_of_short_offset(query: ListQuery) -> PageStart | None:
    """Return the start of a page near the beginning of an unfiltered list, where OFFSET is enough; else None."""
    if query.sort != "createdAt" or query.page is None or _is_filtered(query) or offset_of(query) > LEAF_SIZE:
        return None
    return PageStart(None, lead_id.FIRST_ID if query.ascending else lead_id.LAST_ID, offset_of(query))


def fetch_page_from(connection: Connection, query: ListQuery, start: PageStart) -> Page | None:
    """Read a page from its known start in one statement; None when the start is outdated or the page has no rows."""
    statement = _AT_ASCENDING if query.ascending else _AT_DESCENDING
    rows = connection.execute(statement, {"bound": start.bound, "skip": start.skip, "number": query.limit + 1}).all()
    if not rows:
        return None
    version = totals.parse_version(rows[0].version)
    if version.retention_cutoff or start.version not in (None, version):
        return None
    return _page(query, rows, version.total, version, start)


def _is_filtered(query: ListQuery) -> bool:
    return _is_matched(query) or query.created_from is not None or query.created_to is not None


def _is_matched(query: ListQuery) -> bool:
    """Tell whether the list is of leads with equal values, which an index has together."""
    return bool(wanted_values(query))


def _known_total(connection: Connection, query: ListQuery, version: DataVersion) -> int | None:
    """Return how many leads of a source or of all there are, or duplicates of them; None when the list is narrower."""
    narrower = (query.email, query.phone, query.created_from, query.created_to)
    if any(each is not None for each in narrower):
        return None
    if query.is_duplicate:
        return DUPLICATE_COUNTS.total(connection, query.source or OF_ALL)
    total = version.total if query.source is None else SOURCE_COUNTS.total(connection, query.source)
    return total if query.is_duplicate is None else total - DUPLICATE_COUNTS.total(connection, query.source or OF_ALL)


def _count(connection: Connection, query: ListQuery, version: DataVersion) -> int:
    """Count the leads that match, on an index. Raises Costly."""
    if query.is_duplicate is False and [*wanted_values(query)] == ["is_duplicate"]:
        # Most leads are no duplicates: how many leads there are between two times is known, and duplicates are counted.
        span = _Span.of(connection, query, version)
        return span.end - span.start - count_matching(connection, replace(query, is_duplicate=True))
    return count_matching(connection, query)


def _at(bound: ColumnElement[bool], order: Any) -> Select[Any]:
    return (
        select(leads, totals.VERSION_TEXT.label("version"))
        .where(bound)
        .order_by(order)
        .limit(bindparam("number", type_=Integer))
        .offset(bindparam("skip", type_=Integer))
    )


_AT_ASCENDING = _at(leads.c.id >= bindparam("bound"), leads.c.id)
_AT_DESCENDING = _at(leads.c.id <= bindparam("bound"), leads.c.id.desc())


def scan(connection: Connection, query: ListQuery, after: LeadId | None) -> Sequence[Row[Any]]:
    """Return the next `query.limit` rows after the lead `after`, in the order of creation.

    It counts nothing, so a list of any length can be read from end to end.
    """
    retention_cutoff = totals.version(connection).retention_cutoff
    if retention_cutoff:
        query = replace(query, created_from=max(retention_cutoff, query.created_from or 0))
    filtered = _is_matched(query)
    columns = select(leads.c.id) if filtered else select(leads)
    statement = matching(columns, query).order_by(leads.c.id if query.ascending else leads.c.id.desc())
    if after is not None:
        statement = statement.where(beyond(leads.c.id, after, query.ascending))
    statement = statement.limit(query.limit)
    if not filtered:
        return _leads(connection, statement)
    index = f"FORCE INDEX ({index_of(query)})"
    return _rows(connection, ids_of(connection, statement.with_hint(leads, index, "mysql")))


def _page(
    query: ListQuery, rows: Sequence[Row[Any]], total: int, version: DataVersion, start: PageStart | None = None
) -> Page:
    """Make a page of `rows`, which have one row more than the limit when there is a next page."""
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    return Page(rows, total, _after(query, rows[-1]) if more else None, version, start)


def _after(query: ListQuery, row: Row[Any]) -> After:
    value = None if query.sort == "createdAt" else getattr(row, SORT_COLUMNS[query.sort].name)
    return After(value, bytes(row.id))


@dataclass(frozen=True, slots=True)
class _Span:
    """The positions, [start, end), in the order of creation of the leads within the query's times."""

    start: int
    end: int
    bounded: bool

    @classmethod
    def of(cls, connection: Connection, query: ListQuery, version: DataVersion) -> "_Span":
        low, high = query.created_from, query.created_to
        start = 0 if low is None else lookup.before(connection, low)
        end = version.total if high is None else lookup.before(connection, high + 1)
        return cls(start, max(start, end), low is not None or high is not None)


def _by_creation(
    connection: Connection, query: ListQuery, span: _Span, after: After | None, known: KnownBuckets
) -> tuple[Sequence[Row[Any]], Place | None]:
    """Return the rows of a page in the order of creation, one more when there is a next page; and the Place used."""
    order = leads.c.id if query.ascending else leads.c.id.desc()
    statement = select(leads).order_by(order).limit(query.limit + 1)
    if after is not None:
        statement = matching(statement, query).where(beyond(leads.c.id, after.id, query.ascending))
        return _leads(connection, statement), None
    offset = offset_of(query)
    if offset >= span.end - span.start:
        return [], None
    if offset <= LEAF_SIZE:
        return _leads(connection, matching(statement, query).offset(offset)), None
    place = lookup.locate(connection, span.start + offset if query.ascending else span.end - 1 - offset, known)
    if place is None:
        return [], None
    # `skip` counts from the bucket's edge, so the query's own bound on that side must not apply.
    if query.ascending:
        statement = statement.where(leads.c.id >= place.first, *until(query)).offset(place.skip)
    else:
        statement = statement.where(leads.c.id < place.last, *since(query)).offset(place.stored - 1 - place.skip)
    return _leads(connection, statement), place


def _leads(connection: Connection, statement: Select[Any]) -> Sequence[Row[Any]]:
    return connection.execute(statement).all()


def _rows(connection: Connection, ids: list[LeadId]) -> Sequence[Row[Any]]:
    if not ids:
        return []
    by_id = {bytes(lead.id): lead for lead in _leads(connection, select(leads).where(leads.c.id.in_(ids)))}
    return [by_id[each] for each in ids]
