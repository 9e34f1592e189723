"""POST /api/login_check"""

import asyncio
from typing import Any

import falcon
import orjson
from falcon.asgi import Response
from marshmallow import Schema, ValidationError, fields, validate

from ingest_api.auth import users
from ingest_api.auth.tokens import Tokens
from ingest_api.database.reader_pool import ReaderPool
from ingest_api.http import body
from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON, ApiError, validation_failed
from schema.lead.rules import BLANK, EMAIL_MAX, NOT_OBJECT, NOT_TEXT, UNKNOWN

# Password checks at once in one process: each takes 19 MiB and a core for some 20 ms, unless it is remembered.
CHECKS = 2

_messages: dict[str, Any] = {"required": BLANK, "null": BLANK, "invalid": NOT_TEXT}


def _length(most: int) -> list[validate.Validator]:
    too_long = f"This value is too long. It should have {most} characters or less."
    return [validate.Length(min=1, error=BLANK), validate.Length(max=most, error=too_long)]


class CredentialsSchema(Schema):
    """Who wants to log in."""

    error_messages = {"unknown": UNKNOWN, "type": NOT_OBJECT}

    email = fields.String(required=True, error_messages=_messages, validate=_length(EMAIL_MAX))
    password = fields.String(required=True, error_messages=_messages, validate=_length(users.PASSWORD_MAX))


CREDENTIALS = CredentialsSchema()


class Login:
    """Gives a token for an address and a password."""

    def __init__(self, read_path: ReaderPool, tokens: Tokens, body_timeout: float) -> None:
        self._reader_pool = read_path
        self._tokens = tokens
        self._body_timeout = body_timeout
        self._checks = asyncio.Semaphore(CHECKS)

    async def on_post(self, req: Request, resp: Response) -> None:
        """Answer 200 with a token, or 401 for a wrong password and an unknown user alike."""
        data = await body.read_json(req, self._body_timeout)
        try:
            if not isinstance(data, dict):
                raise ValidationError({"body": [NOT_OBJECT]})
            given = CREDENTIALS.load(data)
        except ValidationError as error:
            raise validation_failed(error) from None
        async with self._checks:
            user = await self._reader_pool.in_snapshot(users.authenticate, given["email"], given["password"])
        if user is None:
            raise ApiError(
                falcon.HTTP_401, "Invalid credentials", "credentials", headers={"WWW-Authenticate": "Bearer"}
            )
        resp.content_type = JSON
        resp.data = orjson.dumps({"token": self._tokens.issue(user.email, user.roles)})
