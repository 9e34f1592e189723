"""Accepts leads: appends validated leads to the queue, once for each Idempotency-Key."""

import asyncio
import hashlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import falcon
import orjson
from sqlalchemy import Connection, select

from ingest_api.auth.tokens import Identity
from ingest_api.database.reader_pool import ReaderPool
from ingest_api.http.context import Request
from ingest_api.http.envelope import RETRY_FULL, ApiError, invalid, unavailable
from ingest_api.intake.append import Appender, AppendRequest, AppendResult, NewLead, Verdict
from ingest_api.intake.bulk_limit import BulkLimit
from ingest_api.intake.duplicates import DuplicateRules, Taken, count, refused, taken_of
from ingest_api.intake.group_commit import QueueUnavailable
from ingest_api.intake.rate_limit import RateLimit
from ingest_api.intake.source_limit import check_size, over_limit
from schema.database import idempotency
from schema.database.idempotency import IDEMPOTENCY_KEY
from schema.database.tables import leads
from schema.lead import codec
from schema.lead.lead_id import LeadId, new_lead_id, new_lead_ids, same_lead_ids
from schema.lead.source import SourceLimits
from schema.queue.keys import IDEMPOTENCY_PREFIX

_visible_ascii = re.compile(r"[\x21-\x7e]{1,255}")


class Valid(NamedTuple):
    """A validated lead: its fields as JSON, and what its person is known by (DuplicateRules.contacts)."""

    fields: bytes
    contacts: bytes


class _Keyed(NamedTuple):
    """What the append said of leads with a key; the id of a lead appended under it before, or None."""

    answer: AppendResult
    known: LeadId | None
    is_forgotten: bool = False  # whether only the database, no longer Redis, knew that id


class LeadIntake:
    """Appends leads. The flush that appends them also counts them: a lead as a request, a bulk by its leads."""

    def __init__(
        self,
        commit: Appender,
        limit: RateLimit,
        bulk_limit: BulkLimit,
        rules: DuplicateRules,
        primary: ReaderPool,
    ) -> None:
        self._commit = commit
        self._rules = rules
        self._limit = limit
        self._bulk_limit = bulk_limit
        self._primary = primary

    async def admit(self, req: Request) -> None:
        """Let a lead's body be read. Costs nothing but for clients that are known to have used up their window.

        Raises the 429 or the 503.
        """
        try:
            await self._limit.refuse_used_up(req)
        except QueueUnavailable:
            raise _nothing_accepted() from None

    async def admit_bulk(self, req: Request, user: str) -> None:
        """Count a bulk request, before its body is read.

        Raises the 429 of the rate limit or of the bulk limit, or the 503.
        """
        # One flush takes both. The other is awaited too, so that no error is left without a reader.
        counted, checked = await asyncio.gather(
            self._limit.count_before_body(req), self._bulk_limit.check(user), return_exceptions=True
        )
        for error in (counted, checked):
            if isinstance(error, QueueUnavailable):
                raise _nothing_accepted() from None
            if error is not None:
                raise error

    async def refuse_bulk(self, user: str, leads: int) -> None:
        """Count the leads of a bulk request of which none is accepted."""
        await self._bulk_limit.charge(user, leads)

    async def accept(self, req: Request, caller: Identity, fields: dict[str, Any]) -> tuple[LeadId, bytes]:
        """Append one validated lead; return its id and its JSON.

        On return the lead is durable in the queue, or was already under this request's
        Idempotency-Key. Raises the 400 of a bad key, the 409, the 429 or the 503.
        """
        key, source = _key(req, caller.user), caller.source
        payload = orjson.dumps(fields)
        leads = _encoded([new_lead_id()], [Valid(payload, self._rules.contacts(fields))], source)
        request = AppendRequest(self._limit.key(req), leads, source=source, span=req.context.span)
        request = self._rules.apply(request, source)
        if key is None:
            found = _Keyed(await self._append(req, request), None)
        else:
            found = await self._with_key(req, key, request._replace(digest=hashlib.sha256(payload).digest()))
        if found.known is not None:
            request = request._replace(leads=_encoded([found.known], [Valid(payload, leads[0].contacts)], source))
        (taken,) = self._taken(request, found)
        if taken.is_refused:
            raise refused(taken.errors)
        encoded = request.leads[0].payload
        return taken.id, codec.with_duplicate(encoded, taken.duplicate_of) if taken.duplicate_of else encoded

    async def accept_bulk(self, req: Request, caller: Identity, batch: list[Valid], leads: int) -> list[Taken]:
        """Append validated leads, all or none but refused duplicates; return what became of each, in the same order.

        `leads` is the number that the request held, which the bulk limit counts. On return those that are not refused
        are durable in the queue, or were already under this request's Idempotency-Key. Raises the 400 of a bad key,
        the 409, the 429 or the 503.
        """
        key, source = _key(req, caller.user), caller.source
        counted = AppendRequest(self._bulk_limit.key(caller.user), cost=leads, source=source, span=req.context.span)
        counted = self._rules.apply(counted, source)
        if key is None:
            request = counted._replace(leads=_encoded([new_lead_id() for _ in batch], batch, source))
            return self._taken(request, _Keyed(await self._append(req, request), None))
        digest = hashlib.sha256(b"[%b]" % b",".join(each.fields for each in batch)).digest()
        request = counted._replace(leads=_encoded(new_lead_ids(key, len(batch)), batch, source), digest=digest)
        found = await self._with_key(req, key, request)
        if found.known is not None:
            ids = same_lead_ids(found.known, key, len(batch))
            request = request._replace(leads=_encoded(ids, batch, source))
        if found.is_forgotten:
            # Leads of the batch that were still in the stream are lost with Redis's data: append them again.
            stored = await self._primary.in_snapshot(_stored, [each.id for each in request.leads])
            lost = tuple(each for each in request.leads if each.id not in stored)
            if lost:
                # They were within the source's limits when they came. None is refused: which ones were is lost as well.
                free = source and source._replace(rate=0, daily_cap=0)
                name = IDEMPOTENCY_PREFIX + key.hex()
                await self._append(
                    req,
                    request._replace(
                        rate_key="",
                        leads=lost,
                        key=name,
                        key_absent_in_database=True,
                        source=free,
                        refuses_duplicates=False,
                    ),
                )
        return self._taken(request, found)

    @staticmethod
    def _taken(request: AppendRequest, found: "_Keyed") -> list[Taken]:
        """Return what became of a request's leads, which have the ids that they were accepted with."""
        taken = taken_of(request, found.answer)
        if found.known is None:
            count(taken)
        return taken

    async def _with_key(self, req: Request, key: bytes, request: AppendRequest) -> "_Keyed":
        """Append the request's leads under their key, unless some were before."""
        request = request._replace(key=IDEMPOTENCY_PREFIX + key.hex())
        answer = await self._append(req, request)
        if answer.verdict is Verdict.KEY_UNVERIFIED:
            # Redis has lost its data within the key's TTL.
            stored = await self._primary.in_snapshot(idempotency.find, key)
            if stored is not None and stored.digest != request.digest:
                raise _conflict()
            if stored is not None:
                return _Keyed(answer, stored.lead, is_forgotten=True)
            answer = await self._append(req, request._replace(rate_key="", key_absent_in_database=True))
        return _Keyed(answer, answer.id if answer.verdict is Verdict.DUPLICATE else None)

    async def _append(self, req: Request, request: AppendRequest) -> AppendResult:
        try:
            answer = await self._commit.submit(request)
        except QueueUnavailable:
            # Redis is away: counting the request later would fail too.
            self._limit.exempt(req)
            raise
        if req.context.is_counted:
            self._bulk_limit.note(answer)
        else:
            self._limit.note(req, request.rate_key, answer)
        if answer.verdict is Verdict.FULL:
            raise unavailable("The queue is full. Nothing was accepted.", "queue_full", RETRY_FULL)
        if answer.verdict is Verdict.CONFLICT:
            raise _conflict()
        if request.source is not None and answer.verdict in (Verdict.SOURCE_RATE, Verdict.SOURCE_CAP):
            check_size(request.source, len(request.leads))
            raise over_limit(request.source, answer)
        return answer


def _key(req: Request, user: str) -> bytes | None:
    """Return the hash of user and Idempotency-Key, or None when the request has no key.

    Raises the 400 of a bad key.
    """
    key = req.get_header(IDEMPOTENCY_KEY)
    if key is None:
        return None
    if not _visible_ascii.fullmatch(key):
        raise invalid({IDEMPOTENCY_KEY: ["This header should have 1 to 255 visible ASCII characters."]})
    return idempotency.key_of(user, key)


def _encoded(ids: Iterable[LeadId], batch: Iterable[Valid], source: SourceLimits | None) -> tuple[NewLead, ...]:
    name = "" if source is None else source.name
    return tuple(
        NewLead(each, codec.encode_fields(each, valid.fields, name), valid.contacts)
        for each, valid in zip(ids, batch, strict=True)
    )


def _stored(connection: Connection, ids: list[LeadId]) -> set[LeadId]:
    return {bytes(each) for each in connection.execute(select(leads.c.id).where(leads.c.id.in_(ids))).scalars()}


def _nothing_accepted() -> ApiError:
    return unavailable("The queue does not answer. Nothing was accepted.", "queue_away")


def _conflict() -> ApiError:
    return ApiError(falcon.HTTP_409, f"This {IDEMPOTENCY_KEY} was used with another body.", "idempotency_conflict")
