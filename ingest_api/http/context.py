"""What is known of a request on its way through the API, and the request that carries it."""

from dataclasses import dataclass

import falcon.asgi
import falcon.util


@dataclass
class RequestContext(falcon.util.Context):
    """What one part learns of a request and a later one needs."""

    started: float = 0.0  # time.perf_counter() at its beginning
    request_id: str = ""
    user: str = ""  # whose token it carries; "" before that is known
    body: bytes | None = None  # as it was read, for the request log
    reason: str = ""  # the code of the error that it is answered with; "" for none

    # Of the rate limit, which alone writes them.
    is_counted: bool = False
    used: int = 0  # requests in the client's window, this one included; 0 when it has no limit
    window_left: int = 0  # seconds


class Request(falcon.asgi.Request):
    """A request with a typed context."""

    __slots__ = ()

    context_type = RequestContext
    context: RequestContext
