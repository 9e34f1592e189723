"""/api/dead-letters: GET a list, POST to replay; for users with the role `admin`."""

import asyncio
from itertools import islice
from typing import Any

import falcon
import orjson
from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api.audit import AuditTrail
from ingest_api.auth.tokens import Tokens
from ingest_api.http import body
from ingest_api.http.context import Request
from ingest_api.http.envelope import ApiError, forbid_storing, success, validation_failed
from ingest_api.parameters import kinds
from ingest_api.parameters.dead_letters import LETTERS_QUERY, REASONS_OF, REPLAY_BODY
from schema.audit.event import Action
from schema.lead import lead_id
from schema.lead.rules import NOT_OBJECT
from schema.queue.dead_letters import DeadLetter, DeadLetters


class Letters:
    """The dead letters, oldest first."""

    def __init__(self, tokens: Tokens, letters: DeadLetters, audit: AuditTrail) -> None:
        self._tokens = tokens
        self._letters = letters
        self._audit = audit

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer a page of dead letters with their reasons and leads."""
        self._tokens.require(req, "admin")
        try:
            query = kinds.parse(LETTERS_QUERY, req.params)
        except ValidationError as error:
            raise validation_failed(error) from None
        forbid_storing(resp)
        page = await asyncio.to_thread(self._page, query["limit"], query["after"], query["reason"])
        await self._audit.write(req, Action.DEAD_LETTERS_SHOWN, parameters=req.params, row_count=len(page["items"]))
        success(resp, 200, "Dead letters", page)

    on_head = on_get

    def _page(self, limit: int, after: str | None, reason: str | None) -> dict[str, Any]:
        if reason is None:
            letters = self._letters.walk(after, limit + 1)
        else:
            letters = (each for each in self._letters.walk(after) if each.reason == reason)
        found = list(islice(letters, limit + 1))
        more = len(found) > limit
        page: dict[str, Any] = {
            "items": [_shown(letter) for letter in found[:limit]],
            "total": self._letters.count(),
            "next": found[limit - 1].name if more else None,
        }
        if after is None:
            reasons = self._letters.reasons(REASONS_OF)
            page |= {"reasons": dict(reasons.most_common()), "reasons_of": reasons.total()}
        return page


class Replay:
    """Puts dead letters back into the queue."""

    def __init__(self, tokens: Tokens, letters: DeadLetters, body_timeout: float, audit: AuditTrail) -> None:
        self._tokens = tokens
        self._letters = letters
        self._audit = audit
        self._body_timeout = body_timeout

    async def on_post(self, req: Request, resp: Response) -> None:
        """Answer how many are back in the queue. Letters that another request replayed meanwhile are not counted."""
        self._tokens.require(req, "admin")
        data = await body.read_json(req, self._body_timeout)
        try:
            wanted = REPLAY_BODY.load(data) if isinstance(data, dict) else None
        except ValidationError as error:
            raise validation_failed(error) from None
        if wanted is None:
            raise validation_failed(ValidationError({"body": [NOT_OBJECT]}))
        letter = wanted.get("letter")
        event = await self._audit.write(req, Action.DEAD_LETTERS_REPLAYED, parameters=wanted, subject=letter or "")
        replayed = await asyncio.to_thread(self._replay, letter)
        self._audit.count(event, replayed)
        success(resp, 200, "Replayed", {"replayed": replayed})

    def _replay(self, name: str | None) -> int:
        if name is None:
            return sum(self._letters.replay(letter) for letter in self._letters)
        letter = self._letters.find(name)
        if letter is None:
            raise ApiError(falcon.HTTP_404, "There is no such dead letter.", "letter_unknown")
        return int(self._letters.replay(letter))


def _shown(letter: DeadLetter) -> dict[str, Any]:
    try:
        lead = orjson.loads(letter.payload)
    except orjson.JSONDecodeError:
        lead = None
    return {
        "letter": letter.name,
        "reason": letter.reason,
        "since": letter.since.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "id": lead_id.to_text(letter.lead) if letter.lead else None,
        "lead": lead,
    }
