"""GET /api/leads/export"""

import csv
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
from falcon.asgi import Response
from marshmallow import ValidationError
from sqlalchemy import Connection, Row

from ingest_api.audit import AuditTrail
from ingest_api.auth.callers import Callers
from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.http.context import Request
from ingest_api.http.envelope import rate_limited, unavailable, validation_failed
from ingest_api.http.scope import client_disconnected
from ingest_api.parameters import kinds
from ingest_api.parameters.export import EXPORT_QUERY, FORMATS, ExportQuery
from ingest_api.reads import pages
from ingest_api.reads.serialize import lead_to_json
from schema.audit.event import Action, Event
from schema.lead.lead_id import LeadId
from schema.lead.rules import FIELDS

# What leads did not have from the beginning stands at the end.
LAST_COLUMNS = ("createdAt", "updatedAt", "source", "consent", "duplicateOf")
CSV_COLUMNS = ("id", *(name for name in FIELDS if name not in LAST_COLUMNS), *LAST_COLUMNS)

# CSV injection: spreadsheets run a cell that starts with one of these as a formula, the full-width ones too. Where the
# list separator is a semicolon, a cell also starts behind each of those.
FORMULA = re.compile(r"(^|;)(\s*)(?=[=+\-@\t\r＝＋－＠])")
GUARDED = ("firstName", "lastName", "email")

# Exports that one process sends at once, each of another user. Each has a thread and a connection of its own.
EXPORTS_AT_ONCE = 2

# Retry-After, seconds, beyond that: an export takes minutes.
RETRY_EXPORT = 15

_Chunk = tuple[bytes, int, LeadId | None]  # text, leads in it, id of the last one


class Export:
    """All leads of a filter as one file."""

    def __init__(self, callers: Callers, reader: DatabaseReader, audit: AuditTrail) -> None:
        self._callers = callers
        self._reader = reader
        self._audit = audit
        self._users: set[str] = set()  # whose exports are being sent

    async def on_get(self, req: Request, resp: Response) -> None:
        """Stream the leads. No database connection is held while the client reads.

        Raises the 429 when the user has an export already, and the 503 when too many are being sent.
        """
        caller = self._callers.require(req, "export").source_name
        try:
            query: ExportQuery = kinds.parse(EXPORT_QUERY, req.params)
            source = kinds.own_source(query.leads.source, caller)
        except ValidationError as error:
            raise validation_failed(error) from None
        query = replace(query, leads=replace(query.leads, source=source))
        user = req.context.user
        self._begin(user)
        try:
            # The first chunk is read before the first byte is sent, so that an error still gets its own status.
            first = await self._reader.in_snapshot(_chunk, query, None)
            event = await self._audit.write(req, Action.EXPORT, parameters=req.params)
        except BaseException:
            self._users.discard(user)
            raise
        resp.content_type = FORMATS[query.format]
        resp.set_headers(
            {
                "Cache-Control": "private, no-store",
                "Content-Disposition": f'attachment; filename="leads.{query.format}"',
            }
        )
        resp.stream = _Stream(self._walk(req, query, first, event), lambda: self._users.discard(user))

    async def on_head(self, req: Request, resp: Response) -> None:
        """Answer the headers of the GET."""
        await self.on_get(req, resp)
        stream, resp.stream = resp.stream, None
        if isinstance(stream, _Stream):
            await stream.close()

    def _begin(self, user: str) -> None:
        if user in self._users:
            raise rate_limited(RETRY_EXPORT, "You have an export already.", "export_running")
        if len(self._users) >= EXPORTS_AT_ONCE:
            raise unavailable("Too many exports are being sent.", "exports_busy", RETRY_EXPORT)
        self._users.add(user)

    async def _walk(self, req: Request, query: ExportQuery, chunk: _Chunk, event: Event) -> AsyncGenerator[bytes, None]:
        text, number, last = chunk
        sent = 0
        if query.format == "csv":
            text = _csv([CSV_COLUMNS]) + text
        try:
            while True:
                sent += number
                if text:
                    yield text
                if last is None or client_disconnected(req.scope):
                    return
                # An error here aborts the chunked answer, so the client sees that the file is incomplete.
                text, number, last = await self._reader.in_snapshot(_chunk, query, last)
        finally:
            self._audit.count(event, sent)


class _Stream(AsyncIterator[bytes]):
    """A stream of bytes that calls `end` when Falcon closes it, which it does however the answer ends."""

    def __init__(self, walk: AsyncGenerator[bytes, None], end: Callable[[], None]) -> None:
        self._walk = walk
        self._end = end

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._walk)

    async def close(self) -> None:
        """End the walk."""
        self._end()
        await self._walk.aclose()


def _chunk(connection: Connection, query: ExportQuery, after: LeadId | None) -> _Chunk:
    """Return the next leads as encoded text, their number, and the id of the last one, None if there are no more."""
    rows = pages.scan(connection, query.leads, after)
    last = bytes(rows[-1].id) if len(rows) == query.leads.limit else None
    if query.format == "ndjson":
        return b"".join(orjson.dumps(lead_to_json(row)) + b"\n" for row in rows), len(rows), last
    return _csv([_cells(row) for row in rows]), len(rows), last


def _cells(row: Row[Any]) -> list[str]:
    lead = lead_to_json(row)
    # In JSON a semicolon stands in strings alone, where its escape means the same.
    for name, text in (("additionalData", row.additional_data), ("consent", row.consent)):
        lead[name] = FORMULA.sub(r"\\u003b\2", text or "")
    for name in GUARDED:
        lead[name] = FORMULA.sub(r"\1\2'", lead[name])
    lead["source"] = row.source or ""
    lead.setdefault("duplicateOf", "")
    return [lead[name] for name in CSV_COLUMNS]


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
