"""Finds the ids of a page on an index that ends in the id: by a filter, or in the order of a column.

What no index serves cheaply is refused, with the parameter to change.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, func, select

from ingest_api.parameters.lists import ListQuery
from ingest_api.reads.conditions import beyond, index_of, matching, offset_of, wanted_values
from ingest_api.reads.cursor import After
from schema.database.tables import leads
from schema.lead.lead_id import LeadId

SORT_COLUMNS = {
    "createdAt": leads.c.id,
    "firstName": leads.c.first_name,
    "lastName": leads.c.last_name,
    "email": leads.c.email,
}

# Most matching leads that the database sorts without an index.
SORT_MAX = 10_000

# Most leads of one e-mail address or telephone number in a list, or of a source or duplicates between two times: each
# request counts them on the index.
MATCH_MAX = 100_000

# Largest OFFSET into an index for a page by number, from the nearer end.
SKIP_MAX = 100_000


class Costly(Exception):
    """A list that no index serves cheaply. `parameter` is the one to change, `message` says how."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message


def count_matching(connection: Connection, query: ListQuery) -> int:
    """Count the leads of a filter on its index, up to MATCH_MAX."""
    narrowest = next(iter(wanted_values(query)))
    if narrowest in ("email", "phone") and (query.source is not None or query.is_duplicate is not None):
        # The index does not have these: what is bounded are the rows that are looked at.
        count_matching(connection, replace(query, source=None, is_duplicate=None))
    index = index_of(query)
    found = matching(select(leads.c.id), query).with_hint(leads, f"FORCE INDEX ({index})", "mysql")
    total = int(
        connection.execute(select(func.count()).select_from(found.limit(MATCH_MAX + 1).subquery())).scalar_one()
    )
    if total > MATCH_MAX:
        name = "duplicates" if narrowest == "is_duplicate" else narrowest
        raise Costly(name, f"More than {MATCH_MAX} leads match: narrow them with createdFrom and createdTo.")
    return total


def ids_by_filter(connection: Connection, query: ListQuery, total: int, after: After | None) -> list[LeadId]:
    """Return the ids of a filtered page whose index has the order wanted, by creation within equal values.

    They are read from the nearer end. Raises Costly.
    """
    statement = matching(select(leads.c.id), query).with_hint(leads, f"FORCE INDEX ({index_of(query)})", "mysql")
    order, backwards = (leads.c.id, leads.c.id.desc()) if query.ascending else (leads.c.id.desc(), leads.c.id)
    wanted = query.limit + 1
    if after is not None:
        statement = statement.where(beyond(leads.c.id, after.id, query.ascending))
        return ids_of(connection, statement.order_by(order).limit(wanted))
    offset = offset_of(query)
    if offset >= total:
        return []
    _check_offset(offset, total, "Of this source" if query.is_duplicate is None else "With `duplicates`")
    if offset <= total // 2:
        return ids_of(connection, statement.order_by(order).limit(wanted).offset(offset))
    wanted = min(wanted, total - offset)
    return ids_of(connection, statement.order_by(backwards).limit(wanted).offset(total - offset - wanted))[::-1]


def ids_by_column(connection: Connection, query: ListQuery, total: int, after: After | None) -> list[LeadId]:
    """Return the ids of an unfiltered page sorted by a column, from its index alone, from the nearer end."""
    column = SORT_COLUMNS[query.sort]
    statement = select(leads.c.id).with_hint(leads, f"FORCE INDEX (leads_{column.name})", "mysql")
    wanted = query.limit + 1
    if after is not None:
        # Two statements, one for each range of the index: with OR neither MySQL nor MariaDB seeks.
        same = statement.where(column == after.value, beyond(leads.c.id, after.id, query.ascending))
        # ORDER BY the id alone: with the column, too, MariaDB would sort the rows.
        ids = ids_of(connection, same.order_by(leads.c.id if query.ascending else leads.c.id.desc()).limit(wanted))
        if len(ids) < wanted:
            rest = statement.where(beyond(column, after.value, query.ascending))
            ids += ids_of(connection, _ordered(rest, column, query.ascending).limit(wanted - len(ids)))
        return ids
    offset = offset_of(query)
    if offset >= total:
        return []
    _check_offset(offset, total, f"Sorted by {query.sort}")
    if offset <= total // 2:
        return ids_of(connection, _ordered(statement, column, query.ascending).limit(wanted).offset(offset))
    wanted = min(wanted, total - offset)
    backwards = _ordered(statement, column, not query.ascending).limit(wanted).offset(total - offset - wanted)
    return ids_of(connection, backwards)[::-1]


def _check_offset(offset: int, total: int, of_what: str) -> None:
    """Raise Costly for a page that is far from both ends."""
    if SKIP_MAX < offset < total - SKIP_MAX:
        raise Costly(
            "page",
            f"{of_what}, pages can be reached by their number within {SKIP_MAX} leads "
            "from either end: go on from there with next_cursor, or sort all by createdAt.",
        )


def ids_sorted(connection: Connection, query: ListQuery, total: int, index: str, after: After | None) -> list[LeadId]:
    """Return the ids of a filtered page in an order that `index` does not have: the database sorts them.

    Raises Costly.
    """
    if total > SORT_MAX:
        raise Costly(
            "sortBy", f"With these filters more than {SORT_MAX} leads match: sort by createdAt, or narrow them."
        )
    if after is None and offset_of(query) >= total:
        return []
    column = SORT_COLUMNS[query.sort]
    statement = matching(select(leads.c.id), query).with_hint(leads, f"FORCE INDEX ({index})", "mysql")
    if after is not None:
        same = (column == after.value) & beyond(leads.c.id, after.id, query.ascending)
        statement = statement.where(beyond(column, after.value, query.ascending) | same)
    statement = _ordered(statement, column, query.ascending).limit(query.limit + 1)
    return ids_of(connection, statement.offset(offset_of(query) if after is None else 0))


def _ordered(statement: Select[Any], column: Any, ascending: bool) -> Select[Any]:
    if ascending:
        return statement.order_by(column, leads.c.id)
    return statement.order_by(column.desc(), leads.c.id.desc())


def ids_of(connection: Connection, statement: Select[Any]) -> list[LeadId]:
    """Return the ids that a statement selects."""
    return [bytes(each) for each in connection.execute(statement).scalars()]
