"""GET /api/leads/{id}"""

from typing import Any

import falcon
from falcon.asgi import Response
from sqlalchemy import Connection, bindparam, select

from ingest_api.audit import AuditTrail
from ingest_api.auth.callers import Callers
from ingest_api.database.reader_pool import DatabaseReader, ReaderPool
from ingest_api.http.context import Request
from ingest_api.http.envelope import ApiError, forbid_storing, success, success_encoded
from ingest_api.reads.queue_reader import QueueReader
from ingest_api.reads.serialize import lead_to_json
from schema.audit.event import Action
from schema.database.tables import leads
from schema.lead import lead_id
from schema.lead.codec import with_state
from schema.lead.lead_id import LeadId
from schema.queue.entries import source_of


class Lead:
    """One lead: stored, waiting in the queue, or a dead letter. A source finds its own alone."""

    def __init__(
        self, callers: Callers, reader: DatabaseReader, primary: ReaderPool, queue: QueueReader, audit: AuditTrail
    ) -> None:
        self._callers = callers
        self._reader = reader
        self._primary = primary
        self._queue = queue
        self._audit = audit

    async def on_get(self, req: Request, resp: Response, lead: str) -> None:
        """Answer the lead with its state. It is found from the moment its 202 is sent."""
        source = self._callers.require(req, "read").source_name
        forbid_storing(resp)
        try:
            wanted = lead_id.from_text(lead)
        except ValueError:
            raise _not_found() from None
        found = await self._reader.one_statement(_stored, wanted)
        if found is None:
            payload = await self._queue.find(wanted)
            if payload is not None:
                is_found = source is None or source_of(payload) == source
                self._audit.note(req, Action.LEAD_READ, row_count=int(is_found), subject=lead_id.to_text(wanted))
                if not is_found:
                    raise _not_found()
                success_encoded(resp, 200, "Lead", with_state(payload, "queued"))
                return
            # The lead may have been stored between the two reads, and a replica may not have it yet.
            found = await self._primary.one_statement(_stored, wanted)
        if found is not None and source is not None and found.get("source") != source:
            found = None
        self._audit.note(req, Action.LEAD_READ, row_count=int(found is not None), subject=lead_id.to_text(wanted))
        if found is None:
            raise _not_found()
        success(resp, 200, "Lead", found)

    on_head = on_get


_BY_ID = select(leads).where(leads.c.id == bindparam("wanted"))


def _stored(connection: Connection, wanted: LeadId) -> dict[str, Any] | None:
    row = connection.execute(_BY_ID, {"wanted": wanted}).first()
    return lead_to_json(row) if row else None


def _not_found() -> ApiError:
    return ApiError(falcon.HTTP_404, "There is no lead with this id.", "lead_unknown")
