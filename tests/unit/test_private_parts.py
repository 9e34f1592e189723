"""What we know of uvicorn beyond what it promises (docs/adr/0009): each test fails when uvicorn changes it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ingest_api.http.scope import client_disconnected, is_body_buffered
from ingest_api.server import protocol
from ingest_api.server.early_start import start_before_body

POST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


class Wire(asyncio.Transport):
    """A connection that keeps what is written to it, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def turns() -> None:
    """Let everything happen that waits for nobody."""
    for _ in range(50):
        await asyncio.sleep(0)


def served(
    app: Callable[..., Any], kind: type[HttpToolsProtocol], *received: bytes, then: Callable[[Any], None] | None = None
) -> list[bytes]:
    """Serve what a client sends, piece by piece; return what was written."""

    async def serve() -> list[bytes]:
        config = Config(app, http=kind, log_config=None, access_log=False)
        config.load()
        protocol = kind(config, ServerState(), {})
        wire = Wire()
        protocol.connection_made(wire)
        for each in received:
            protocol.data_received(each)
            await turns()
        if then is not None:
            then(protocol)
            await turns()
        return wire.writes

    return asyncio.run(serve())


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.mark.parametrize(("kind", "writes"), [(protocol.Protocol, 1), (HttpToolsProtocol, 2)])
def test_an_answer_is_one_write_where_uvicorn_alone_makes_two(kind: type[HttpToolsProtocol], writes: int):
    found = served(hello, kind, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    # With one from uvicorn alone, coalescing_transport.py may go.
    assert len(found) == writes
    assert b"".join(found).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(("received", "whole"), [([POST + b"body"], True), ([POST, b"bo", b"dy"], False)])
def test_uvicorn_says_whether_the_whole_body_has_come(received: list[bytes], whole: bool):
    seen: list[bool] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(is_body_buffered(scope))
        await hello(scope, receive, send)

    served(start_before_body(app), protocol.Protocol, *received)

    assert seen == [whole]


@pytest.mark.parametrize(("line", "code"), [(b"FOO /x HTTP/1.1", b"405"), (b"GET /x HTTQ/1.1", b"400")])
def test_uvicorn_leaves_it_to_us_what_to_answer_to_nonsense(line: bytes, code: bytes):
    (found,) = served(hello, protocol.Protocol, line + b"\r\nHost: x\r\n\r\n")

    assert found.startswith(b"HTTP/1.1 " + code)
    assert found.endswith(b"}")


def test_uvicorn_says_that_an_answer_is_being_made():
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await asyncio.Event().wait()

    found = served(app, protocol.Protocol, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"FOO / HTTP/1.1\r\n\r\n")

    assert b"405" not in b"".join(found)


def test_uvicorn_says_that_a_client_has_gone():
    seen: list[bool] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(client_disconnected(scope))
        while not client_disconnected(scope):
            await asyncio.sleep(0)
        seen.append(client_disconnected(scope))

    served(
        start_before_body(app),
        protocol.Protocol,
        POST,
        then=lambda served: served.connection_lost(None),
    )

    assert seen == [False, True]
