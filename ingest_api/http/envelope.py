"""The envelope, the one JSON shape of every answer, and the errors that use it."""

from typing import Any

import falcon
import orjson
from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api.http.context import Request
from schema.runtime import logs

log = logs.get(__name__)

JSON = "application/json"

# Retry-After, seconds: when the queue is full, and when Redis or the database is away.
RETRY_FULL = 5
RETRY_AWAY = 2


class ApiError(falcon.HTTPError):
    """An error response.

    `reason` is the code shared by the log line and the metric's label; `message` and
    `errors` go to the client.
    """

    def __init__(
        self,
        status: str,
        message: str,
        reason: str,
        *,
        errors: dict[str, list[str]] | None = None,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        headers = dict(headers or {})
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        super().__init__(status, title=message, headers=headers)
        self.reason = reason
        self.errors = errors
        self.retry_after = retry_after


def invalid(errors: dict[str, list[str]], reason: str = "invalid") -> ApiError:
    """Make the 400 for wrong fields, parameters or body; `errors` are the messages by field."""
    return ApiError(falcon.HTTP_400, "Validation failed", reason, errors=errors)


def validation_failed(error: ValidationError) -> ApiError:
    """Make the 400 for a marshmallow ValidationError."""
    return invalid(error.messages_dict)


def unavailable(message: str, reason: str, retry_after: int = RETRY_AWAY) -> ApiError:
    """Make the 503 for when Redis or the database cannot serve; `retry_after` in seconds."""
    return ApiError(falcon.HTTP_503, message, reason, retry_after=retry_after)


def rate_limited(retry_after: int, message: str = "Rate limit exceeded", reason: str = "rate_limited") -> ApiError:
    """Make the 429 for a client over one of its limits; `retry_after` in seconds."""
    return ApiError(falcon.HTTP_429, message, reason, retry_after=retry_after)


def success(resp: Response, status: int, message: str, data: Any) -> None:
    """Answer with the success envelope around `data`, any JSON value."""
    success_encoded(resp, status, message, orjson.dumps(data))


def forbid_storing(resp: Response) -> None:
    """Let nobody on the way keep the answer: it holds a token or personal data (RFC 9111, section 5.2.2.5)."""
    resp.set_header("Cache-Control", "no-store")


def success_encoded(resp: Response, status: int, message: str, data: bytes) -> None:
    """Answer with the success envelope around `data`, already encoded as JSON."""
    resp.status = status
    resp.content_type = JSON
    resp.data = b'{"status":"success","code":%d,"message":%b,"data":%b}' % (status, orjson.dumps(message), data)


def serialize_error(req: Request, resp: Response, error: falcon.HTTPError) -> None:
    """Write any HTTP error, including Falcon's own, as the error envelope. Falcon calls this."""
    body: dict[str, Any] = {
        "status": "error",
        "code": error.status_code,
        "message": error.title or falcon.code_to_http_status(error.status_code)[4:],
    }
    if isinstance(error, ApiError):
        if error.errors is not None:
            body["errors"] = error.errors
        if error.retry_after is not None:
            body["retry_after"] = error.retry_after
    req.context.reason = getattr(error, "reason", f"http_{error.status_code}")
    resp.content_type = JSON
    resp.data = orjson.dumps(body)


async def handle_redis_error(req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
    """Answer an error of Redis with the 503."""
    raise unavailable("The queue does not answer.", "queue_away")


async def handle_append_failure(req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
    """Answer a flush that was not confirmed with the 503: its leads may be in the queue."""
    raise unavailable(
        "The queue does not answer. Whether anything was accepted is not known: "
        "send it again with the same Idempotency-Key.",
        "queue_away",
    )


async def handle_unexpected(req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
    """Answer an unexpected exception with a 500 that reveals no internals. The traceback is in the log."""
    request_id = req.context.request_id
    log.error("defect", exc_info=error, request_id=request_id)
    req.context.reason = "defect"
    resp.status = 500
    resp.content_type = JSON
    resp.data = orjson.dumps(
        {
            "status": "error",
            "code": 500,
            "message": f"Internal error. Please name request {request_id} when you report it.",
        }
    )
