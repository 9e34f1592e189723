"""Accepting leads: from a checked lead to its place in the queue."""

import hashlib
import re
from typing import Any

import falcon
import orjson
from falcon.asgi import Request

from ingest_api.envelope import RETRY_FULL, Refusal, invalid, unavailable
from ingest_api.group_commit import Answer, GroupCommit, Lead, Operation, QueueUnavailable, Verdict
from ingest_api.rate_limit import RateLimit
from ingest_api.read_path import ReadPath
from schema import idempotency, lead
from schema.lead_id import LeadId, new_lead_id
from schema.stream import KEY

IDEMPOTENCY_KEY = "Idempotency-Key"

_visible_ascii = re.compile(r"[\x21-\x7e]{1,255}")


class Accepting:
    """Appends leads and tells what to answer. The request is counted in the same flush."""

    def __init__(self, commit: GroupCommit, limit: RateLimit, primary: ReadPath) -> None:
        self._commit = commit
        self._limit = limit
        self._primary = primary

    async def one(self, req: Request, user: str, fields: dict[str, Any]) -> tuple[LeadId, bytes]:
        """Append one checked lead; return its id and its JSON.

        On return the lead is durable in the queue, or was already under this request's
        Idempotency-Key. Raises the 400 of a bad key, the 409, the 429 or the 503.
        """
        new_id = new_lead_id()
        payload = lead.encode(new_id, fields)
        key = req.get_header(IDEMPOTENCY_KEY)
        if key is None:
            await self._append(req, Operation(self._limit.key(req), (Lead(new_id, payload),)))
            return new_id, payload
        if not _visible_ascii.fullmatch(key):
            raise invalid({IDEMPOTENCY_KEY: ["This header should have 1 to 255 visible ASCII characters."]})
        known = await self._with_key(req, idempotency.key_of(user, key), Lead(new_id, payload), fields)
        return known, lead.encode(known, fields)

    async def _with_key(self, req: Request, key: bytes, new: Lead, fields: dict[str, Any]) -> LeadId:
        """Append a lead under its key, or return the id of the one that was appended under it before."""
        digest = hashlib.sha256(orjson.dumps(fields)).digest()
        operation = Operation(self._limit.key(req), (new,), KEY + key.hex(), digest)
        answer = await self._append(req, operation)
        if answer.verdict is Verdict.UNSURE:
            # Redis has lost its data within the life of a key.
            stored = await self._primary.run(idempotency.find, key)
            if stored is not None and stored.digest != digest:
                raise _conflict()
            if stored is not None:
                return stored.lead
            answer = await self._append(req, operation._replace(rate_key="", unknown=True))
        return answer.id if answer.verdict is Verdict.REPEATED else new.id

    async def many(self, req: Request, leads: list[dict[str, Any]]) -> list[LeadId]:
        """Append checked leads, all or none, and return their ids in the same order.

        On return they are durable in the queue. Raises the 429 or the 503.
        """
        batch = []
        for fields in leads:
            new_id = new_lead_id()
            batch.append(Lead(new_id, lead.encode(new_id, fields)))
        await self._append(req, Operation(self._limit.key(req), tuple(batch)))
        return [each.id for each in batch]

    async def _append(self, req: Request, operation: Operation) -> Answer:
        try:
            answer = await self._commit.submit(operation)
        except QueueUnavailable:
            req.context.counted = True
            raise unavailable("The queue does not answer. Nothing was accepted.", "queue_away") from None
        self._limit.note(req, answer)
        if answer.verdict is Verdict.FULL:
            raise unavailable("The queue is full. Nothing was accepted.", "queue_full", RETRY_FULL)
        if answer.verdict is Verdict.CONFLICT:
            raise _conflict()
        return answer


def _conflict() -> Refusal:
    return Refusal(falcon.HTTP_409, f"This {IDEMPOTENCY_KEY} was used with another body.", "idempotency_conflict")
