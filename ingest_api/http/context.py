"""The typed request context, and the request class that carries it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import falcon.asgi
import falcon.util

if TYPE_CHECKING:
    from schema.runtime.tracing import RequestSpan


@dataclass
class RequestContext(falcon.util.Context):
    """What the parts of the API tell each other about one request."""

    started: float = 0.0  # time.perf_counter()
    request_id: str = ""
    user: str = ""  # from the token; "" until it is checked
    body: bytes | None = None  # raw, for the request log
    reason: str = ""  # error code of the response; "" for none
    refused: int = 0  # leads of a bulk request that were refused
    waited: float = 0.0  # seconds for which the client asked to wait, and which are no work
    span: "RequestSpan | None" = None  # when the request is traced

    # Written by RateLimit only. The middleware counts a request that is not counted when its answer is ready.
    is_counted: bool = False
    used: int = 0  # requests in the client's window, this one included; 0 when there is no limit
    window_left: int = 0  # seconds


class Request(falcon.asgi.Request):
    """A request with a typed context."""

    __slots__ = ()

    context_type = RequestContext
    context: RequestContext
