"""What stands between the server and Falcon."""

from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiCallable = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

# In the scope of a request whose body need not be waited for.
WHOLE = "leads.whole_body"


# In the scope of a request: what the server knows of its client.
CLIENT = "leads.client"


def has_gone(scope: dict[str, Any]) -> bool:
    """Tell whether the client of a request has hung up: what is sent to it then, the server drops silently."""
    # uvicorn's request cycle says so. From another server we do not know.
    return getattr(scope[CLIENT], "disconnected", False) is True


def begin_at_once(app: Any) -> AsgiCallable:
    """Wrap a Falcon application so that it begins with a request before any of its body has come.

    Falcon waits for the first piece of the body; a client that sends none would wait with it,
    past every bound of ours on time and size.
    """

    async def begin(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        scope[CLIENT] = getattr(receive, "__self__", None)
        if _has_come(receive):
            scope[WHOLE] = True
            await app(scope, receive, send)
            return
        begun = False

        async def receive_at_once() -> dict[str, Any]:
            nonlocal begun
            if begun:
                return await receive()
            begun = True
            return {"type": "http.request", "body": b"", "more_body": True}

        await app(scope, receive_at_once, send)

    return begin


def _has_come(receive: Receive) -> bool:
    """Tell whether the server has the whole body already, as it usually has: then nobody waits."""
    # uvicorn's `receive` is a method of its request cycle. From another server we do not know.
    return getattr(getattr(receive, "__self__", None), "more_body", True) is False
