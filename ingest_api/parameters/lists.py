"""The parameters of a list: filters, order and page."""

from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from ingest_api.parameters.kinds import (
    DUPLICATE_CHOICES,
    ORDERS,
    TIME_RULE,
    UNKNOWN_PARAMETER,
    Duplicates,
    Moment,
    Order,
    SourceName,
    WholeNumber,
    as_stored,
    one_of,
)
from schema.lead.rules import EMAIL_MAX, PHONE_MAX

LIMIT_MAX = 100
PAGE_MAX = 10**15
SORTS = ("createdAt", "firstName", "lastName", "email")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A list's validated parameters."""

    page: int | None
    limit: int
    sort: str
    ascending: bool
    cursor: str | None
    email: str | None
    phone: str | None
    created_from: int | None  # microseconds since 1970, included
    created_to: int | None  # microseconds since 1970, included
    source: str | None = None
    is_duplicate: bool | None = None  # None: duplicates, and others

    @property
    def name(self) -> str:
        """The list's identity without the page: sort and filters. A cursor carries it."""
        parts = (self.sort, self.ascending, self.email, self.phone, self.created_from, self.created_to)
        # A filter that is not used leaves no trace, so that cursors of releases that did not have it stay good.
        if self.is_duplicate is not None:
            return repr((*parts, self.source, self.is_duplicate))
        return repr(parts if self.source is None else (*parts, self.source))


class ListQuerySchema(Schema):
    """The parameters as they stand in the query string."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    page = WholeNumber(1, PAGE_MAX, load_default=None, metadata={"description": "Page, from 1"})
    limit = WholeNumber(1, LIMIT_MAX, load_default=10, metadata={"description": "Leads on a page"})
    sortBy = fields.String(load_default="createdAt", validate=one_of(SORTS))
    sortOrder = Order(load_default="DESC", validate=one_of(ORDERS))
    cursor = fields.String(
        load_default=None, validate=validate.Length(1, 4096), metadata={"description": "In place of page"}
    )
    email = fields.String(load_default=None, validate=validate.Length(1, EMAIL_MAX))
    phone = fields.String(load_default=None, validate=validate.Length(1, PHONE_MAX))
    createdFrom = Moment(
        load_default=None, metadata={"description": "First time that belongs to the list", **TIME_RULE}
    )
    createdTo = Moment(end=True, load_default=None, metadata={"description": "Last time that does", **TIME_RULE})

    source = SourceName()
    duplicates = Duplicates()

    @validates_schema
    def _page_or_cursor(self, data: dict[str, Any], **_: Any) -> None:
        if data["page"] is not None and data["cursor"] is not None:
            raise ValidationError("Give a page or a cursor, not both.", "cursor")

    @post_load
    def _query(self, data: dict[str, Any], **_: Any) -> ListQuery:
        email, phone = as_stored(data["email"], data["phone"])
        return ListQuery(
            page=data["page"] or (None if data["cursor"] else 1),
            limit=data["limit"],
            sort=data["sortBy"],
            ascending=data["sortOrder"] == "ASC",
            cursor=data["cursor"],
            email=email,
            phone=phone,
            created_from=data["createdFrom"],
            created_to=data["createdTo"],
            source=data["source"],
            is_duplicate=DUPLICATE_CHOICES.get(data["duplicates"]),
        )


LIST_QUERY = ListQuerySchema()
