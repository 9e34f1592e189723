"""What a list's parameters mean in SQL, and which index they are looked up on."""

from typing import Any

from sqlalchemy import ColumnElement, Select, UnaryExpression
from sqlalchemy.sql.operators import custom_op

from ingest_api.parameters.lists import ListQuery
from schema.database.tables import leads
from schema.lead import lead_id

# The columns that a list's leads may have to have equal values in, the most narrow first, and the index of each.
_INDEXES = {
    "email": "leads_email",
    "phone": "leads_phone",
    "source": "leads_source",
    "is_duplicate": "leads_duplicate",
}
_INDEXED = {str(index.name): index.columns.keys() for index in leads.indexes}


def offset_of(query: ListQuery) -> int:
    """Return how many leads of the list stand before the page."""
    return ((query.page or 1) - 1) * query.limit


def matching(statement: Select[Any], query: ListQuery) -> Select[Any]:
    """Narrow a statement to the leads that match the query's filters."""
    conditions: list[ColumnElement[bool]] = []
    wanted = wanted_values(query)
    if wanted:
        indexed = _INDEXED[index_of(query)]
        # SQLite has no hint for the index to use; it looks up no column on one that has a unary plus.
        conditions = [
            (leads.c[name] if name in indexed else _looked_at(leads.c[name])) == value for name, value in wanted.items()
        ]
    return statement.where(*conditions, *since(query), *until(query))


def wanted_values(query: ListQuery) -> dict[str, str | bool]:
    """Return the values that all leads of the list have, by column, the most narrow first."""
    values = {name: getattr(query, name) for name in _INDEXES}
    return {name: value for name, value in values.items() if value is not None}


def index_of(query: ListQuery) -> str:
    """Return the index for the query's `wanted_values`, which it must have."""
    wanted = list(wanted_values(query))
    return "leads_source_duplicate" if wanted == ["source", "is_duplicate"] else _INDEXES[wanted[0]]


def _looked_at(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


def since(query: ListQuery) -> list[ColumnElement[bool]]:
    """Return the condition of the query's first time, if it has one."""
    return [] if query.created_from is None else [leads.c.id >= lead_id.at(query.created_from)]


def until(query: ListQuery) -> list[ColumnElement[bool]]:
    """Return the condition of the query's last time, if it has one."""
    return [] if query.created_to is None else [leads.c.id < lead_id.at(query.created_to + 1)]


def beyond(column: Any, value: object, ascending: bool) -> ColumnElement[bool]:
    """Return the condition that a row comes after `value` in the order of `column`."""
    condition: ColumnElement[bool] = column > value if ascending else column < value
    return condition
