"""POST /api/login_check"""

import orjson
from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api.audit import AuditTrail
from ingest_api.auth.login_check import LoginCheck
from ingest_api.auth.tokens import Tokens
from ingest_api.http import body
from ingest_api.http.client_ip import ClientAddresses
from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON, forbid_storing, validation_failed
from ingest_api.http.scope import client_disconnected
from ingest_api.parameters.credentials import CREDENTIALS
from schema.audit.event import Action
from schema.lead.rules import NOT_OBJECT


class Login:
    """Issues a token for an address and a password."""

    def __init__(
        self,
        check: LoginCheck,
        tokens: Tokens,
        addresses: ClientAddresses,
        body_timeout: float,
        audit: AuditTrail,
    ) -> None:
        self._check = check
        self._tokens = tokens
        self._addresses = addresses
        self._body_timeout = body_timeout
        self._audit = audit

    async def on_post(self, req: Request, resp: Response) -> None:
        """Answer 200 with a token; or the same 401 for a wrong password, an unknown and a disabled user."""
        data = await body.read_json(req, self._body_timeout)
        try:
            if not isinstance(data, dict):
                raise ValidationError({"body": [NOT_OBJECT]})
            given = CREDENTIALS.load(data)
        except ValidationError as error:
            raise validation_failed(error) from None
        client = self._addresses.find(req.remote_addr, req.get_header("X-Forwarded-For"))
        user = await self._check.user(
            given["email"],
            given["password"],
            self._addresses.counted(client),
            is_gone=lambda: client_disconnected(req.scope),
            on_failure=lambda account: self._audit.note(req, Action.LOGIN_FAILED, user=account),
        )
        self._audit.note(req, Action.LOGIN, user=user.email)
        forbid_storing(resp)
        resp.content_type = JSON
        resp.data = orjson.dumps({"token": self._tokens.issue(user)})
