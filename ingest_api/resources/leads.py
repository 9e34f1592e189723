"""/api/leads: POST one lead, GET a list."""

from typing import Any

from falcon.asgi import Request, Response
from marshmallow import ValidationError
from sqlalchemy import Connection

from ingest_api import body, lead_list, list_query
from ingest_api.accepting import Accepting
from ingest_api.cursor import BadCursor, Cursors
from ingest_api.envelope import broken_fields, invalid, success, success_encoded
from ingest_api.lead_list import Costly
from ingest_api.list_query import LIST_QUERY, ListQuery
from ingest_api.presentation import stored_lead
from ingest_api.read_path import ReadPath
from ingest_api.tokens import Tokens
from schema import lead, lead_id


class Leads:
    """The collection."""

    def __init__(
        self, tokens: Tokens, accepting: Accepting, read_path: ReadPath, cursors: Cursors, body_timeout: float
    ) -> None:
        self._tokens = tokens
        self._accepting = accepting
        self._read_path = read_path
        self._cursors = cursors
        self._body_timeout = body_timeout

    async def on_post(self, req: Request, resp: Response) -> None:
        """Accept one lead: 202 once it is durable in the queue."""
        identity = self._tokens.require(req, "ingest")
        data = await body.read_json(req, self._body_timeout)
        try:
            fields = lead.check(data)
        except ValidationError as error:
            raise broken_fields(error) from None
        new_id, payload = await self._accepting.one(req, identity.user, fields)
        resp.set_header("Location", f"/api/leads/{lead_id.to_text(new_id)}")
        success_encoded(resp, 202, "Lead accepted", lead.with_state(payload, "queued"))

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer a page of stored leads."""
        self._tokens.require(req, "read")
        try:
            query: ListQuery = list_query.parse(LIST_QUERY, req.params)
            after = self._cursors.read(query.name, query.cursor) if query.cursor else None
        except BadCursor as error:
            raise invalid({"cursor": [str(error)]}) from None
        except ValidationError as error:
            raise broken_fields(error) from None
        try:
            success(resp, 200, "Leads", await self._read_path.run(self._page, query, after))
        except Costly as error:
            raise invalid({error.parameter: [error.message]}) from None

    on_head = on_get

    def _page(self, connection: Connection, query: ListQuery, after: Any) -> dict[str, Any]:
        page = lead_list.find(connection, query, after)
        return {
            "items": [stored_lead(row) for row in page.rows],
            "pagination": {
                "total": page.total,
                "page": query.page,
                "limit": query.limit,
                "total_pages": -(-page.total // query.limit),
                "next_cursor": self._cursors.write(query.name, page.after) if page.after else None,
            },
        }
