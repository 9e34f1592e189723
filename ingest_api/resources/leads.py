"""/api/leads: POST one lead, GET a list."""

from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api.auth.callers import Callers
from ingest_api.http import body
from ingest_api.http.context import Request
from ingest_api.http.envelope import forbid_storing, success_encoded, validation_failed
from ingest_api.intake.lead_intake import LeadIntake
from ingest_api.reads.lists import Lists
from schema.lead import additional_data, codec, lead_id


class Leads:
    """The collection."""

    COUNTED_BY_RESOURCE = ("POST",)

    def __init__(self, callers: Callers, intake: LeadIntake, lists: Lists, body_timeout: float) -> None:
        self._callers = callers
        self._intake = intake
        self._lists = lists
        self._body_timeout = body_timeout

    async def on_post(self, req: Request, resp: Response) -> None:
        """Accept one lead: 202 once it is durable in the queue."""
        identity = self._callers.require(req, "ingest")
        await self._intake.admit(req)
        data = await body.read_json(req, self._body_timeout)
        try:
            fields = additional_data.validate(data, identity.additional_data)
        except ValidationError as error:
            raise validation_failed(error) from None
        new_id, payload = await self._intake.accept(req, identity, fields)
        forbid_storing(resp)
        resp.set_header("Location", f"/api/leads/{lead_id.to_text(new_id)}")
        success_encoded(resp, 202, "Lead accepted", codec.with_state(payload, "queued"))

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer a page of stored leads, or 304 when the client's copy is current."""
        identity = self._callers.require(req, "read")
        await self._lists.answer(req, resp, identity.source_name)

    on_head = on_get
