"""The one shape of every answer, and the errors that take it."""

from typing import Any

import falcon
import orjson
from falcon.asgi import Response
from marshmallow import ValidationError

from ingest_api.http.context import Request
from schema.runtime import logs

log = logs.get(__name__)

JSON = "application/json"

# Seconds after which a client may try again: the queue is full, or a server of ours is away.
RETRY_FULL = 5
RETRY_AWAY = 2


class ApiError(falcon.HTTPError):
    """A request that is answered with an error.

    `reason` is the code that the log line and the metric's label share; `message` and
    `errors` are what the client reads.
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
    """Make the answer to a request whose fields, parameters or body are wrong."""
    return ApiError(falcon.HTTP_400, "Validation failed", reason, errors=errors)


def validation_failed(error: ValidationError) -> ApiError:
    """Make the answer to fields or parameters that marshmallow refused."""
    return invalid(error.messages_dict)


def unavailable(message: str, reason: str, retry_after: int = RETRY_AWAY) -> ApiError:
    """Make the answer for when something of ours cannot serve right now."""
    return ApiError(falcon.HTTP_503, message, reason, retry_after=retry_after)


def rate_limited(retry_after: int) -> ApiError:
    """Make the answer to a client that used up its window; `retry_after` in seconds."""
    return ApiError(falcon.HTTP_429, "Rate limit exceeded", "rate_limited", retry_after=retry_after)


def success(resp: Response, status: int, message: str, data: Any) -> None:
    """Answer with the success envelope around `data` (anything JSON can hold)."""
    success_encoded(resp, status, message, orjson.dumps(data))


def success_encoded(resp: Response, status: int, message: str, data: bytes) -> None:
    """Answer with the success envelope around `data`, which is JSON already."""
    resp.status = status
    resp.content_type = JSON
    resp.data = b'{"status":"success","code":%d,"message":%b,"data":%b}' % (status, orjson.dumps(message), data)


def serialize_error(req: Request, resp: Response, error: falcon.HTTPError) -> None:
    """Write any HTTP error, Falcon's own too, as the error envelope. Falcon calls this."""
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


async def handle_queue_unavailable(req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
    """Answer every error of Redis with the 503. A POST of leads is told that none was accepted."""
    nothing = " Nothing was accepted." if req.method == "POST" else ""
    raise unavailable(f"The queue does not answer.{nothing}", "queue_away")


async def handle_unexpected(req: Request, resp: Response, error: Exception, params: dict[str, Any]) -> None:
    """Answer what nobody foresaw with a 500 that shows nothing of the inside; the log has the place."""
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
