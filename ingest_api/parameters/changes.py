"""The parameters of `changes`: where to go on, how many, and how long to wait."""

from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, fields, post_load, validate

from ingest_api.parameters.kinds import UNKNOWN_PARAMETER, SourceName, WholeNumber

CHANGES_MAX = 1000
CHANGES_DEFAULT = 100

# Longest wait, seconds: shorter than the idle timeouts of common proxies.
WAIT_MAX = 30

# In place of a cursor: what is stored from now on.
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class ChangesQuery:
    """The validated parameters."""

    after: str  # a cursor, LATEST, or "" for the very beginning
    limit: int
    wait: int  # seconds
    source: str | None


class ChangesQuerySchema(Schema):
    """The parameters as they stand in the query string."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    after = fields.String(
        load_default="",
        validate=validate.Length(0, 4096),
        metadata={"description": f"`next_cursor` of the answer before; `{LATEST}`: from now on; empty: everything"},
    )
    limit = WholeNumber(1, CHANGES_MAX, load_default=CHANGES_DEFAULT, metadata={"description": "Most leads"})
    wait = WholeNumber(
        0, WAIT_MAX, load_default=0, metadata={"description": "Seconds to wait while there is nothing new"}
    )
    source = SourceName()

    @post_load
    def _query(self, data: dict[str, Any], **_: Any) -> ChangesQuery:
        return ChangesQuery(**data)


CHANGES_QUERY = ChangesQuerySchema()
