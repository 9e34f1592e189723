"""GET /api/leads/changes"""

from dataclasses import replace
from urllib.parse import urlencode

import falcon
import orjson
from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api.audit import AuditTrail
from ingest_api.auth.callers import Callers
from ingest_api.http.body import NDJSON
from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON, forbid_storing, invalid, success_encoded, validation_failed
from ingest_api.http.scope import client_disconnected
from ingest_api.parameters import kinds
from ingest_api.parameters.changes import CHANGES_QUERY, ChangesQuery
from ingest_api.reads.changes_feed import ChangesFeed
from ingest_api.reads.cursor import BadCursor
from schema.audit.event import Action

NEXT_CURSOR = "X-Next-Cursor"


class Changes:
    """Stored leads in the order in which they were stored."""

    def __init__(self, callers: Callers, feed: ChangesFeed, audit: AuditTrail) -> None:
        self._callers = callers
        self._feed = feed
        self._audit = audit

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the next leads and the cursor behind them, as JSON or, where that is preferred, as NDJSON."""
        caller = self._callers.require(req, "read").source_name
        kind = req.client_prefers((JSON, NDJSON))
        if kind is None:
            raise falcon.HTTPNotAcceptable(title=f"This is answered in {JSON} and {NDJSON} only.")
        try:
            query: ChangesQuery = kinds.parse(CHANGES_QUERY, req.params)
            query = replace(query, source=kinds.own_source(query.source, caller))
        except ValidationError as error:
            raise validation_failed(error) from None
        try:
            found = await self._feed.read(query, lambda: client_disconnected(req.scope))
        except BadCursor as error:
            raise invalid({"after": [str(error)]}) from None
        leads, cursor = found.step.leads, found.step.cursor.encode()
        req.context.waited = found.waited
        if leads:
            self._audit.note(req, Action.LIST, parameters=req.params, row_count=len(leads))
        forbid_storing(resp)
        others = {name: value for name, value in req.params.items() if name != "after"}
        resp.set_header("Link", f'<{req.path}?{urlencode({**others, "after": cursor})}>; rel="next"')
        resp.set_header(NEXT_CURSOR, cursor)
        if kind == NDJSON:
            resp.content_type = NDJSON
            resp.data = b"".join(each + b"\n" for each in leads)
        else:
            data = b'{"items":[%b],"next_cursor":%b}' % (b",".join(leads), orjson.dumps(cursor))
            success_encoded(resp, 200, "Changes", data)

    on_head = on_get
