"""Starts Falcon on a request before its body arrives."""

from collections.abc import Awaitable, Callable
from typing import Any

from ingest_api.http.scope import BODY_BUFFERED, CLIENT_DISCONNECTED

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
AsgiCallable = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def start_before_body(app: Any) -> AsgiCallable:
    """Wrap a Falcon application so that a request starts before any of its body has arrived.

    Falcon itself waits for the first chunk of the body before it calls our code, so a client that
    sends none would escape our timeouts.
    """

    async def begin(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        # uvicorn's `receive` is a method of its request cycle, which has these flags. Other servers have none.
        cycle = getattr(receive, "__self__", None)
        scope[CLIENT_DISCONNECTED] = lambda: getattr(cycle, "disconnected", False) is True
        if getattr(cycle, "more_body", True) is False:
            scope[BODY_BUFFERED] = True
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
