"""POST /api/leads/bulk"""

import asyncio
from typing import Any

from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api import metrics
from ingest_api.auth.tokens import Tokens
from ingest_api.http import body
from ingest_api.http.body import BULK_BODY_MAX, BULK_MAX, NDJSON, NotJson
from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON, invalid, success
from ingest_api.intake.lead_intake import LeadIntake
from schema.lead import lead_id, rules

# Leads validated before other requests get the event loop (docs/lab/2026-11-26-behind-the-constants.md).
CHECKED_AT_ONCE = 50


class Bulk:
    """Bulk requests: many leads as a JSON array or as NDJSON."""

    COUNTED_IN_APPEND = ("POST",)

    def __init__(self, tokens: Tokens, intake: LeadIntake, body_timeout: float) -> None:
        self._tokens = tokens
        self._intake = intake
        self._body_timeout = body_timeout

    async def on_post(self, req: Request, resp: Response) -> None:
        """Accept the valid leads: 202 once all of them are durable in the queue; 400 when none is valid."""
        identity = self._tokens.require(req, "ingest")
        items = await self._items(req)
        results: list[dict[str, Any]] = []
        valid: list[dict[str, Any]] = []
        places: list[int] = []
        for index, item in enumerate(items):
            try:
                valid.append(rules.validate(body.decode(item) if isinstance(item, bytes) else item))
                places.append(index)
                results.append({"index": index})
            except NotJson as error:
                results.append({"index": index, "errors": {"body": [str(error)]}})
            except ValidationError as error:
                results.append({"index": index, "errors": error.messages_dict})
            if index % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1:
                await asyncio.sleep(0)
        if not valid:
            raise invalid(_flattened(results))
        ids = await self._intake.accept_bulk(req, identity.user, valid)
        for index, new_id in zip(places, ids, strict=True):
            results[index]["id"] = lead_id.to_text(new_id)
        rejected = len(results) - len(valid)
        metrics.REJECTED.labels("bulk_item").inc(rejected)
        success(resp, 202, "Leads accepted", {"accepted": len(valid), "rejected": rejected, "results": results})

    async def _items(self, req: Request) -> list[Any]:
        """Return the decoded items of an array, or the lines of NDJSON as bytes."""
        kind = body.media_type(req, JSON, NDJSON)
        content = await body.read(req, BULK_BODY_MAX, self._body_timeout)
        if kind == NDJSON:
            return _bounded(list(body.lines(content)))
        try:
            items = body.decode(content)
        except NotJson as error:
            raise invalid({"body": [str(error)]}, "bad_json") from None
        if not isinstance(items, list):
            raise invalid({"body": ["This value should be a JSON array of leads."]})
        return _bounded(items)


def _bounded(items: list[Any]) -> list[Any]:
    if not 1 <= len(items) <= BULK_MAX:
        raise invalid({"body": [f"The body should hold 1 to {BULK_MAX} leads."]})
    return items


def _flattened(results: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the messages by item index and field: `0.email`."""
    return {f"{result['index']}.{name}": messages for result in results for name, messages in result["errors"].items()}
