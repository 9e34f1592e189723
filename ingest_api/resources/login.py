"""POST /api/login_check"""

import asyncio

import falcon
import orjson
from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api.audit import AuditTrail
from ingest_api.auth import users
from ingest_api.auth.tokens import Tokens
from ingest_api.database.reader_pool import ReaderPool
from ingest_api.http import body
from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON, ApiError, forbid_storing, validation_failed
from ingest_api.parameters.credentials import CREDENTIALS
from schema.audit.event import Action
from schema.lead.rules import NOT_OBJECT

# Most concurrent password checks in one process; bounds the memory and CPU that argon2 takes
# (docs/lab/2026-11-26-behind-the-constants.md).
CHECKS = 2


class Login:
    """Issues a token for an address and a password."""

    def __init__(self, reader: ReaderPool, tokens: Tokens, body_timeout: float, audit: AuditTrail) -> None:
        self._reader = reader
        self._tokens = tokens
        self._body_timeout = body_timeout
        self._audit = audit
        self._checks = asyncio.Semaphore(CHECKS)

    async def on_post(self, req: Request, resp: Response) -> None:
        """Answer 200 with a token; or the same 401 for a wrong password, an unknown and a disabled user."""
        data = await body.read_json(req, self._body_timeout)
        try:
            if not isinstance(data, dict):
                raise ValidationError({"body": [NOT_OBJECT]})
            given = CREDENTIALS.load(data)
        except ValidationError as error:
            raise validation_failed(error) from None
        async with self._checks:
            user = await self._reader.in_snapshot(users.authenticate, given["email"], given["password"])
        if user is None:
            # What was typed may be a password or somebody else's address: only that of an account is taken down.
            known = await self._reader.one_statement(users.is_known, given["email"])
            self._audit.note(req, Action.LOGIN_FAILED, user=given["email"] if known else "")
            raise ApiError(
                falcon.HTTP_401, "Invalid credentials", "credentials", headers={"WWW-Authenticate": "Bearer"}
            )
        self._audit.note(req, Action.LOGIN, user=user.email)
        forbid_storing(resp)
        resp.content_type = JSON
        resp.data = orjson.dumps({"token": self._tokens.issue(user.email, user.roles)})
