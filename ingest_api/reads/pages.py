"""Finds one page of leads, in a bounded number of statements and without counting all rows.

In the order of creation the counts by time bucket lead to any page (schema.counts.lookup). In
another order, or with a filter, an index that ends in the id gives the page's ids; then the rows
are fetched by id.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Row, Select, bindparam, func, select

from ingest_api.parameters.lists import ListQuery
from ingest_api.reads.cursor import After
from schema.counts import lookup, totals
from schema.counts.lookup import BucketCache, KnownBuckets, Place
from schema.counts.totals import DataVersion
from schema.counts.widths import LEAF_SIZE
from schema.database.tables import leads
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

SORT_COLUMNS = {
    "createdAt": leads.c.id,
    "firstName": leads.c.first_name,
    "lastName": leads.c.last_name,
    "email": leads.c.email,
}

# Most matching leads that the database sorts without an index.
SORT_MAX = 10_000

# Most leads of one e-mail address or telephone number in a list, because each request counts them on the index.
MATCH_MAX = 100_000

# Largest OFFSET into an index for a page by number, from the nearer end.
SKIP_MAX = 100_000


class Costly(Exception):
    """A list that no index serves cheaply. `parameter` is the one to change, `message` says how."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message


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
    if version.retention_cutoff:
        query = replace(query, created_from=max(version.retention_cutoff, query.created_from or 0))
    in_order = query.sort == "createdAt"
    if query.email is None and query.phone is None:
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
            ids = _sorted(connection, query, total, "PRIMARY", after)
        else:
            ids = _by_column(connection, query, total, after)
    else:
        total = _count_matching(connection, query)
        if in_order or (query.sort == "email" and query.email is not None):
            ids = _by_filter(connection, query, total, after)
        else:
            ids = _sorted(connection, query, total, _index_of(query), after)
    return _page(query, _rows(connection, ids), total, version)


def start_of_short_offset(query: ListQuery) -> PageStart | None:
    """Return the start of a page near the beginning of an unfiltered list, where OFFSET is enough; else None."""
    if query.sort != "createdAt" or query.page is None or _is_filtered(query) or _offset(query) > LEAF_SIZE:
        return None
    return PageStart(None, lead_id.FIRST_ID if query.ascending else lead_id.LAST_ID, _offset(query))


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
    return any(each is not None for each in (query.email, query.phone, query.created_from, query.created_to))


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
    filtered = query.email is not None or query.phone is not None
    columns = select(leads.c.id) if filtered else select(leads)
    statement = _matching(columns, query).order_by(leads.c.id if query.ascending else leads.c.id.desc())
    if after is not None:
        statement = statement.where(_beyond(leads.c.id, after, query.ascending))
    statement = statement.limit(query.limit)
    if not filtered:
        return _leads(connection, statement)
    index = f"FORCE INDEX ({_index_of(query)})"
    return _rows(connection, _ids(connection, statement.with_hint(leads, index, "mysql")))


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


def _offset(query: ListQuery) -> int:
    return ((query.page or 1) - 1) * query.limit


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
        statement = _matching(statement, query).where(_beyond(leads.c.id, after.id, query.ascending))
        return _leads(connection, statement), None
    offset = _offset(query)
    if offset >= span.end - span.start:
        return [], None
    if offset <= LEAF_SIZE:
        return _leads(connection, _matching(statement, query).offset(offset)), None
    place = lookup.locate(connection, span.start + offset if query.ascending else span.end - 1 - offset, known)
    if place is None:
        return [], None
    # `skip` counts from the bucket's edge, so the query's own bound on that side must not apply.
    if query.ascending:
        statement = statement.where(leads.c.id >= place.first, *_until(query)).offset(place.skip)
    else:
        statement = statement.where(leads.c.id < place.last, *_since(query)).offset(place.stored - 1 - place.skip)
    return _leads(connection, statement), place


def _index_of(query: ListQuery) -> str:
    return "leads_email" if query.email is not None else "leads_phone"


def _count_matching(connection: Connection, query: ListQuery) -> int:
    """Count the leads of a filter on its index, up to MATCH_MAX."""
    index = _index_of(query)
    matching = _matching(select(leads.c.id), query).with_hint(leads, f"FORCE INDEX ({index})", "mysql")
    total = int(
        connection.execute(select(func.count()).select_from(matching.limit(MATCH_MAX + 1).subquery())).scalar_one()
    )
    if total > MATCH_MAX:
        name = index.removeprefix("leads_")
        raise Costly(name, f"More than {MATCH_MAX} leads match: narrow them with createdFrom and createdTo.")
    return total


def _by_filter(connection: Connection, query: ListQuery, total: int, after: After | None) -> list[LeadId]:
    """Return the ids of a filtered page whose index has the order wanted: by creation within equal values."""
    if after is None and _offset(query) >= total:
        return []
    statement = _matching(select(leads.c.id), query).with_hint(leads, f"FORCE INDEX ({_index_of(query)})", "mysql")
    statement = statement.order_by(leads.c.id if query.ascending else leads.c.id.desc()).limit(query.limit + 1)
    if after is not None:
        statement = statement.where(_beyond(leads.c.id, after.id, query.ascending))
    return _ids(connection, statement.offset(_offset(query) if after is None else 0))


def _by_column(connection: Connection, query: ListQuery, total: int, after: After | None) -> list[LeadId]:
    """Return the ids of an unfiltered page sorted by a column, from its index alone, from the nearer end."""
    column = SORT_COLUMNS[query.sort]
    statement = select(leads.c.id).with_hint(leads, f"FORCE INDEX (leads_{column.name})", "mysql")
    wanted = query.limit + 1
    if after is not None:
        # Two statements, one for each range of the index: with OR neither MySQL nor MariaDB seeks.
        same = statement.where(column == after.value, _beyond(leads.c.id, after.id, query.ascending))
        # ORDER BY the id alone: with the column, too, MariaDB would sort the rows.
        ids = _ids(connection, same.order_by(leads.c.id if query.ascending else leads.c.id.desc()).limit(wanted))
        if len(ids) < wanted:
            rest = statement.where(_beyond(column, after.value, query.ascending))
            ids += _ids(connection, _ordered(rest, column, query.ascending).limit(wanted - len(ids)))
        return ids
    offset = _offset(query)
    if offset >= total:
        return []
    if SKIP_MAX < offset < total - SKIP_MAX:
        raise Costly(
            "page",
            f"Sorted by {query.sort}, pages can be reached by their number within {SKIP_MAX} leads "
            "from either end: go on from there with next_cursor, or sort by createdAt.",
        )
    if offset <= total // 2:
        return _ids(connection, _ordered(statement, column, query.ascending).limit(wanted).offset(offset))
    wanted = min(wanted, total - offset)
    backwards = _ordered(statement, column, not query.ascending).limit(wanted).offset(total - offset - wanted)
    return _ids(connection, backwards)[::-1]


def _sorted(connection: Connection, query: ListQuery, total: int, index: str, after: After | None) -> list[LeadId]:
    """Return the ids of a filtered page in an order that `index` does not have: the database sorts them.

    Raises Costly.
    """
    if total > SORT_MAX:
        raise Costly(
            "sortBy", f"With these filters more than {SORT_MAX} leads match: sort by createdAt, or narrow them."
        )
    if after is None and _offset(query) >= total:
        return []
    column = SORT_COLUMNS[query.sort]
    statement = _matching(select(leads.c.id), query).with_hint(leads, f"FORCE INDEX ({index})", "mysql")
    if after is not None:
        same = (column == after.value) & _beyond(leads.c.id, after.id, query.ascending)
        statement = statement.where(_beyond(column, after.value, query.ascending) | same)
    statement = _ordered(statement, column, query.ascending).limit(query.limit + 1)
    return _ids(connection, statement.offset(_offset(query) if after is None else 0))


def _matching(statement: Select[Any], query: ListQuery) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = []
    if query.email is not None:
        conditions.append(leads.c.email == query.email)
    if query.phone is not None:
        conditions.append(leads.c.phone == query.phone)
    return statement.where(*conditions, *_since(query), *_until(query))


def _since(query: ListQuery) -> list[ColumnElement[bool]]:
    return [] if query.created_from is None else [leads.c.id >= lead_id.at(query.created_from)]


def _until(query: ListQuery) -> list[ColumnElement[bool]]:
    return [] if query.created_to is None else [leads.c.id < lead_id.at(query.created_to + 1)]


def _ordered(statement: Select[Any], column: Any, ascending: bool) -> Select[Any]:
    if ascending:
        return statement.order_by(column, leads.c.id)
    return statement.order_by(column.desc(), leads.c.id.desc())


def _beyond(column: Any, value: object, ascending: bool) -> ColumnElement[bool]:
    beyond: ColumnElement[bool] = column > value if ascending else column < value
    return beyond


def _ids(connection: Connection, statement: Select[Any]) -> list[LeadId]:
    return [bytes(each) for each in connection.execute(statement).scalars()]


def _leads(connection: Connection, statement: Select[Any]) -> Sequence[Row[Any]]:
    return connection.execute(statement).all()


def _rows(connection: Connection, ids: list[LeadId]) -> Sequence[Row[Any]]:
    if not ids:
        return []
    start = {bytes(lead.id): lead for lead in _leads(connection, select(leads).where(leads.c.id.in_(ids)))}
    return [start[each] for each in ids]
