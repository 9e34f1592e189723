"""POST /api/leads/bulk"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api import metrics
from ingest_api.auth.callers import Callers
from ingest_api.auth.tokens import Identity
from ingest_api.http import body, items
from ingest_api.http.body import BULK_BODY_MAX, NDJSON, NotJson
from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON, ApiError, invalid, success, unavailable
from ingest_api.http.items import BULK_MAX, ITEM_MAX, NOT_SPELLED_OUT, SPELLED_OUT_MAX, TOO_LONG_ITEM, BadItems, Span
from ingest_api.intake.duplicates import DuplicateRules, Taken, refused
from ingest_api.intake.lead_intake import LeadIntake, Valid
from schema.lead import additional_data, codec, lead_id
from schema.lead.additional_data import AdditionalDataCheck

# Bytes of the bodies of bulk requests that one process works on at once: four of the largest. A body takes some four
# times its size in memory.
BULK_BYTES = 4 * BULK_BODY_MAX

# What a smaller body counts as, so that there are at most 64 at once.
BULK_BYTES_EACH = BULK_BYTES // 64

# Retry-After, seconds, beyond that: a request takes some tenths of a second.
RETRY_BUSY = 1

# Time (seconds) after which other requests get the event loop (docs/lab/2026-11-26-behind-the-constants.md).
TURN = 0.002

Errors = dict[str, list[str]]


class Bulk:
    """Bulk requests: many leads as a JSON array or as NDJSON."""

    COUNTED_BY_RESOURCE = ("POST",)

    def __init__(self, callers: Callers, intake: LeadIntake, rules: DuplicateRules, body_timeout: float) -> None:
        self._callers = callers
        self._intake = intake
        self._rules = rules
        self._body_timeout = body_timeout
        self._bytes = 0  # of the requests under way, as _bytes_of counts

    async def on_post(self, req: Request, resp: Response) -> None:
        """Accept the valid leads: 202 once all of them are durable in the queue; 400 when none is valid."""
        identity = self._callers.require(req, "ingest")
        kind = body.media_type(req, JSON, NDJSON)
        await self._intake.admit_bulk(req, identity.user)
        size = _bytes_of(req)
        if self._bytes + size > BULK_BYTES:
            raise unavailable("Too many bulk requests at once. Nothing was accepted.", "bulk_busy", RETRY_BUSY)
        self._bytes += size
        try:
            await self._accept(req, resp, identity, kind)
        finally:
            self._bytes -= size

    async def _accept(self, req: Request, resp: Response, identity: Identity, kind: str) -> None:
        content = await body.read(req, BULK_BODY_MAX, self._body_timeout)
        charged = BULK_MAX
        try:
            spans = await _spans(content, kind)
            charged = len(spans)
            checked = await _check(content, spans, kind, identity.additional_data, self._rules.contacts)
            if not checked.valid:
                req.context.refused = len(checked.errors)
                raise invalid(_flattened(checked.errors))
        except ApiError:
            await self._intake.refuse_bulk(identity.user, charged)
            raise
        taken = await self._intake.accept_bulk(req, identity, checked.valid, charged)
        results = checked.results(taken)
        number = sum(not each.is_refused for each in taken)
        req.context.refused = len(results) - number
        if not number:
            raise refused(_flattened({each["index"]: each["errors"] for each in results}))
        rejected = req.context.refused
        metrics.REJECTED.labels("bulk_item").inc(rejected)
        data = {"accepted": number, "rejected": rejected, "results": results}
        success(resp, 202, "Leads accepted", data)


class _Checked:
    """The items of a request after validation."""

    def __init__(self) -> None:
        self.valid: list[Valid] = []  # with the fields as JSON, which takes less memory than as objects
        self.errors: dict[int, Errors] = {}  # by index

    def reject(self, index: int, errors: Errors) -> None:
        """Add an item with errors."""
        self.errors[index] = errors if len(self.errors) < SPELLED_OUT_MAX else {"body": [NOT_SPELLED_OUT]}

    def results(self, taken: list[Taken]) -> list[dict[str, Any]]:
        """Return a result for each item, in order; `taken` says what became of the valid ones."""
        given = iter(taken)
        numbers = range(len(self.valid) + len(self.errors))
        errors = self.errors
        return [{"index": at, "errors": errors[at]} if at in errors else _result(at, next(given)) for at in numbers]


def _flattened(errors: dict[int, Errors]) -> Errors:
    """Return the messages by item index and field: `0.email`."""
    return {f"{index}.{name}": texts for index, found in errors.items() for name, texts in found.items()}


def _result(index: int, taken: Taken) -> dict[str, Any]:
    if taken.is_refused:
        return {"index": index, "errors": taken.errors}
    result = {"index": index, "id": lead_id.to_text(taken.id)}
    return result | {"duplicateOf": lead_id.to_text(taken.duplicate_of)} if taken.duplicate_of else result


def _bytes_of(req: Request) -> int:
    """Return how many bytes of BULK_BYTES the request takes; a body of unknown length takes the most."""
    length = req.content_length
    return BULK_BODY_MAX if length is None else min(max(length, BULK_BYTES_EACH), BULK_BODY_MAX)


class _Turn:
    """Lets other requests have the event loop every TURN seconds."""

    def __init__(self) -> None:
        self._end = time.perf_counter() + TURN

    async def over(self) -> None:
        """Let others go on, if the turn is over."""
        if time.perf_counter() > self._end:
            await asyncio.sleep(0)
            self._end = time.perf_counter() + TURN


async def _spans(content: bytes, kind: str) -> list[Span]:
    """Return where the items are. Raises the 400 when they are none or too many, before any is decoded."""
    if not content.strip():
        raise invalid({"body": ["The body is empty."]}, "bad_json")
    turn = _Turn()
    spans: list[Span] = []
    try:
        for span in items.of_lines(content) if kind == NDJSON else items.of_array(content):
            spans.append(span)
            if len(spans) > BULK_MAX:
                break
            await turn.over()
    except NotJson as error:
        raise invalid({"body": [str(error)]}, "bad_json") from None
    except BadItems as error:
        raise invalid({"body": [str(error)]}) from None
    if not 1 <= len(spans) <= BULK_MAX:
        raise invalid({"body": [f"The body should hold 1 to {BULK_MAX} leads."]})
    return spans


async def _check(
    content: bytes,
    spans: list[Span],
    kind: str,
    schema: AdditionalDataCheck | None,
    contacts: Callable[[dict[str, Any]], bytes],
) -> _Checked:
    """Decode and validate the items one by one, by the schema of their source; `contacts` is of DuplicateRules.

    Raises the 400 when an element of an array is not JSON; a line of NDJSON is rejected by itself.
    """
    turn = _Turn()
    checked = _Checked()
    for index, (start, end) in enumerate(spans):
        if end - start > ITEM_MAX:
            checked.reject(index, {"body": [TOO_LONG_ITEM]})
            continue
        try:
            fields = additional_data.validate(codec.decode(content[start:end]), schema)
            checked.valid.append(Valid(orjson.dumps(fields), contacts(fields)))
        except orjson.JSONDecodeError as error:
            if kind != NDJSON:
                problem = items.misplaced(content, start + error.pos, error.msg)
                raise invalid({"body": [str(problem)]}, "bad_json") from None
            checked.reject(index, {"body": [str(body.not_json(error.msg, error.lineno, error.colno))]})
        except ValidationError as error:
            checked.reject(index, error.messages_dict)
        await turn.over()
    return checked
