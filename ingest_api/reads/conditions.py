"""What a list's parameters mean in SQL."""

from typing import Any

from sqlalchemy import ColumnElement, Select

from ingest_api.parameters.lists import ListQuery
from schema.database.tables import leads
from schema.lead import lead_id


def offset_of(query: ListQuery) -> int:
    """Return how many leads of the list stand before the page."""
    return ((query.page or 1) - 1) * query.limit


def matching(statement: Select[Any], query: ListQuery) -> Select[Any]:
    """Narrow a statement to the leads that match the query's filters."""
    conditions: list[ColumnElement[bool]] = []
    if query.email is not None:
        conditions.append(leads.c.email == query.email)
    if query.phone is not None:
        conditions.append(leads.c.phone == query.phone)
    if query.source is not None:
        conditions.append(leads.c.source == query.source)
    return statement.where(*conditions, *since(query), *until(query))


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
