"""The parameters of an export: format, order and filters."""

import time
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, fields, post_load, validate

from ingest_api.http.body import NDJSON
from ingest_api.parameters.kinds import (
    DUPLICATE_CHOICES,
    ORDERS,
    TIME_RULE,
    UNKNOWN_PARAMETER,
    Duplicates,
    Moment,
    Order,
    SourceName,
    as_stored,
    one_of,
)
from ingest_api.parameters.lists import ListQuery
from schema.lead.rules import EMAIL_MAX, PHONE_MAX

CSV = "text/csv"
FORMATS = {"csv": CSV, "ndjson": NDJSON}

# Leads read with one statement; bounds an export's memory, whatever its length and the client's speed.
CHUNK_SIZE = 200


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """An export's validated parameters."""

    format: str
    leads: ListQuery


class ExportQuerySchema(Schema):
    """The parameters as they stand in the query string."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    format = fields.String(
        load_default="csv",
        validate=one_of(tuple(FORMATS)),
    )
    sortOrder = Order(
        load_default="ASC",
        validate=one_of(ORDERS),
    )
    email = fields.String(load_default=None, validate=validate.Length(1, EMAIL_MAX))
    phone = fields.String(load_default=None, validate=validate.Length(1, PHONE_MAX))
    createdFrom = Moment(load_default=None, metadata={"description": "First time to export", **TIME_RULE})
    createdTo = Moment(end=True, load_default=None, metadata={"description": "Last time to export", **TIME_RULE})
    source = SourceName()
    duplicates = Duplicates()

    @post_load
    def _query(self, data: dict[str, Any], **_: Any) -> ExportQuery:
        # Ends now at the latest, or it would never finish while leads come in.
        now = time.time_ns() // 1000
        end = now if data["createdTo"] is None else min(now, data["createdTo"])
        email, phone = as_stored(data["email"], data["phone"])
        leads = ListQuery(
            page=None,
            limit=CHUNK_SIZE,
            sort="createdAt",
            ascending=data["sortOrder"] == "ASC",
            cursor=None,
            email=email,
            phone=phone,
            created_from=data["createdFrom"],
            created_to=end,
            source=data["source"],
            is_duplicate=DUPLICATE_CHOICES.get(data["duplicates"]),
        )
        return ExportQuery(data["format"], leads)


EXPORT_QUERY = ExportQuerySchema()
