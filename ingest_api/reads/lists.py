"""Answers lists: a page with its links and its ETag, or 304."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api.audit import AuditTrail
from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.http.context import Request
from ingest_api.http.envelope import ApiError, invalid, success, validation_failed
from ingest_api.parameters import kinds
from ingest_api.parameters.lists import LIST_QUERY, ListQuery
from ingest_api.reads import pages
from ingest_api.reads.cursor import After, BadCursor, Cursors
from ingest_api.reads.data_version import DataVersionReader
from ingest_api.reads.index_pages import Costly
from ingest_api.reads.pages import Page, PageStart
from ingest_api.reads.serialize import lead_to_json
from schema import __version__
from schema.audit.event import Action
from schema.counts.lookup import BucketCache
from schema.counts.totals import DataVersion

# Most entries of each cache: parsed query strings, since parsing takes longer than a 304, and page starts.
CACHED_MAX = 2_000

# Longest `Link` header, bytes: each relation repeats the query, and proxies bound an answer's head (nginx by 4 KiB).
LINK_MAX = 2048

# The relations in the order in which they are left out of a longer one: `next` is the one that clients follow.
LEFT_OUT = ("last", "first", "prev", "next")


class Lists:
    """The lists of one process."""

    def __init__(
        self, reader: DatabaseReader, versions: DataVersionReader, cursors: Cursors, max_age: int, audit: AuditTrail
    ) -> None:
        self._reader = reader
        self._versions = versions
        self._cursors = cursors
        self._audit = audit
        self._cache_control = f"private, max-age={max_age}" if max_age else "private, no-cache"
        self._parsed: dict[str, ListQuery] = {}
        self._starts: dict[ListQuery, PageStart] = {}
        self._bucket_cache = BucketCache()
        # Data version of the last page read; cached page starts of other versions are ignored.
        self._version: DataVersion | None = None

    async def answer(self, req: Request, resp: Response, caller: str | None = None) -> None:
        """Answer a page; or 304, without reading a lead, when the client's ETag is current.

        A `caller`, the name of a source, gets its own leads alone.

        Raises the 400 of a wrong parameter, and the 503.
        """
        query = self._parse(req, caller)
        seen = req.get_header("If-None-Match")
        if seen:
            current = await self._current(query)
            if current is not None and (current in seen or seen.strip() == "*"):
                resp.status = 304
                resp.set_headers({"ETag": f"W/{current}", "Cache-Control": self._cache_control})
                return
        try:
            after = self._cursors.read(query.name, query.cursor) if query.cursor else None
        except BadCursor as error:
            raise invalid({"cursor": [str(error)]}) from None
        try:
            page = await self._page(query, after)
        except Costly as error:
            raise invalid({error.parameter: [error.message]}) from None
        data: dict[str, Any] = {
            "items": [lead_to_json(row) for row in page.rows],
            "pagination": {
                "total": page.total,
                "page": query.page,
                "limit": query.limit,
                "total_pages": -(-page.total // query.limit),
                "next_cursor": self._cursors.write(query.name, page.after) if page.after else None,
            },
        }
        resp.set_headers({"ETag": f"W/{tag(query, page.version)}", "Cache-Control": self._cache_control})
        if link := links(req.path, req.params, data["pagination"]):
            resp.set_header("Link", link)
        self._audit.note(req, Action.LIST, parameters=req.params, row_count=len(page.rows))
        success(resp, 200, "Leads", data)

    def _parse(self, req: Request, caller: str | None) -> ListQuery:
        query = self._parsed.get(req.query_string)
        try:
            if query is None:
                query = kinds.parse(LIST_QUERY, req.params)
                if len(self._parsed) >= CACHED_MAX:
                    self._parsed.clear()
                self._parsed[req.query_string] = query
            return query if caller is None else replace(query, source=kinds.own_source(query.source, caller))
        except ValidationError as error:
            raise validation_failed(error) from None

    async def _current(self, query: ListQuery) -> str | None:
        """Return the page's current tag by the primary's data version, or None while the primary is away."""
        try:
            return tag(query, await self._versions.read())
        except ApiError:
            return None

    async def _page(self, query: ListQuery, after: After | None) -> Page:
        """Read a page, in one round trip when its start is cached for the current data version."""
        start = self._starts.get(query) or pages.start_of_short_offset(query)
        page = None
        if start is not None and start.version in (None, self._version):
            page = await self._reader.one_statement(pages.fetch_page_from, query, start)
        if page is None:
            page = await self._reader.in_snapshot(pages.fetch_page, query, after, self._bucket_cache)
            if page.start is not None:
                if len(self._starts) >= CACHED_MAX:
                    self._starts.clear()
                self._starts[query] = page.start
        self._version = page.version
        return page


def tag(query: ListQuery, version: DataVersion) -> str:
    """Return the entity tag of a page at a data version, in quotes.

    Use it as a weak tag: equal pages still differ in their encrypted cursors.
    """
    what = repr((__version__, query, version))
    return f'"{hashlib.blake2b(what.encode(), digest_size=15).hexdigest()}"'


def links(path: str, parameters: Mapping[str, str | list[str]], pagination: dict[str, Any]) -> str:
    """Return the `Link` header (RFC 8288) of a page: first, prev, next and last.

    A page by cursor has no number: it links to the first page and, by cursor, to the next. Beyond LINK_MAX bytes
    relations are left out, in the order of LEFT_OUT; "" when none is left.
    """
    others = urlencode({name: value for name, value in parameters.items() if name not in ("page", "cursor")})
    start = f"<{path}?{others}&" if others else f"<{path}?"
    page, last = pagination["page"], max(pagination["total_pages"], 1)
    found = {"first": "page=1"}
    if page is None:
        if pagination["next_cursor"]:
            found["next"] = f"cursor={pagination['next_cursor']}"
    else:
        if page > 1:
            found["prev"] = f"page={min(page - 1, last)}"
        if page < last:
            found["next"] = f"page={page + 1}"
        found["last"] = f"page={last}"
    named = {name: f'{start}{place}>; rel="{name}"' for name, place in found.items()}
    for name in LEFT_OUT:
        # The query is percent-encoded: a character is a byte.
        if len(", ".join(named.values())) <= LINK_MAX:
            break
        named.pop(name, None)
    return ", ".join(named.values())
