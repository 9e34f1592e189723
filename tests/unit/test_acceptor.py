"""Accepting connections on a socket of this process alone."""

import asyncio
import errno
import socket
from typing import Any, cast

import pytest

from ingest_api.server import acceptor
from ingest_api.server.acceptor import Acceptor


class Greeting(asyncio.Protocol):
    """Says hello to whoever connects."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(b"hello")


class Full(socket.socket):
    """A listening socket for whose first connection the system has no file left."""

    refused = 0

    def accept(self) -> Any:
        if not self.refused:
            self.refused += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def greeted(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.readexactly(5)
    finally:
        writer.close()


def listen(kind: type[socket.socket] = socket.socket) -> socket.socket:
    listener = kind()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def test_many_at_once_are_all_served() -> None:
    async def serve() -> None:
        with listen() as listener:
            accepting = Acceptor(listener, Greeting, ())
            port = listener.getsockname()[1]
            assert await asyncio.gather(*(greeted(port) for _ in range(100))) == [b"hello"] * 100
            accepting.close()

    asyncio.run(serve())


def test_when_files_run_out_it_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "RETRY", 0.05)

    async def serve() -> None:
        with listen(Full) as listener:
            accepting = Acceptor(listener, Greeting, ())
            assert await asyncio.wait_for(greeted(listener.getsockname()[1]), 5) == b"hello"
            accepting.close()

    asyncio.run(serve())


@pytest.mark.parametrize("seconds", [0.0, 0.1])
def test_a_closed_one_accepts_no_more_and_may_be_closed_again(seconds: float) -> None:
    async def serve() -> None:
        with listen() as listener:
            accepting = Acceptor(listener, Greeting, ())
            port = listener.getsockname()[1]
            await asyncio.gather(greeted(port), greeted(port), greeted(port))
            await asyncio.sleep(seconds)
            accepting.close()
            accepting.close()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(greeted(port), 0.2)

    asyncio.run(serve())
