"""Duplicates: leads of a person who came before, as the append finds them. A source may have them refused."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import falcon

from ingest_api import metrics
from ingest_api.http.envelope import ApiError
from ingest_api.intake.append import AppendRequest, AppendResult, duplicates_of
from schema.lead import lead_id
from schema.lead.contacts import contacts_of
from schema.lead.lead_id import LeadId
from schema.lead.source import SourceLimits


class Taken(NamedTuple):
    """What became of a lead: its id, and the first lead of its person if it is a duplicate."""

    id: LeadId
    duplicate_of: LeadId | None
    is_refused: bool

    @property
    def errors(self) -> dict[str, list[str]]:
        """The errors of a lead that is refused."""
        return {"duplicateOf": [lead_id.to_text(self.duplicate_of)]} if self.duplicate_of else {}


class DuplicateRules:
    """Within how many days a lead is a duplicate, by who sends it."""

    def __init__(self, days: int) -> None:
        """Take LEADS_DUPLICATE_DAYS; 0: duplicates are not looked for."""
        self._days = days

    def contacts(self, fields: dict[str, Any]) -> bytes:
        """Return what a lead's person is known by, or b"" when that is not wanted."""
        return b"".join(contacts_of(fields["email"], fields["phone"])) if self._days else b""

    def apply(self, request: AppendRequest, source: SourceLimits | None) -> AppendRequest:
        """Return a request with the rules of its source, or of users."""
        own = source.duplicate_days if source else None
        days = self._days if own is None else min(own, self._days)
        is_refusing = source is not None and source.refuses_duplicates and days > 0
        return request._replace(duplicate_days=days, refuses_duplicates=is_refusing)


def taken_of(request: AppendRequest, result: AppendResult) -> list[Taken]:
    """Return what became of each of a request's leads: in the append, or the first time under its key."""
    pairs = zip(request.leads, duplicates_of(result, len(request.leads)), strict=True)
    return [Taken(lead.id, first, bool(result.refuses) and first is not None) for lead, first in pairs]


def count(taken: Sequence[Taken]) -> None:
    """Count the duplicates among leads that came for the first time."""
    for each in taken:
        if each.duplicate_of is not None:
            metrics.SEEN_BEFORE.labels("refused" if each.is_refused else "marked").inc()


def refused(errors: dict[str, list[str]]) -> ApiError:
    """Make the 409 for a request whose leads are all duplicates that their source has refused."""
    return ApiError(
        falcon.HTTP_409, "A lead with this e-mail address or telephone number came before.", "duplicate", errors=errors
    )
