"""Many connections that each ask again as soon as they are answered: `python -m loadtests.reads.connections`.

It runs in a process of its own, so that its work does not slow the questions of others.
"""

import argparse
import asyncio
import json
import sys
import time
from typing import cast

import httptools
import uvloop


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, status: int) -> None:
        self._request = request
        self._status = status
        self._parser = httptools.HttpResponseParser(self)
        self._begun = 0.0
        self.took: list[float] = []  # seconds
        self.wrong = 0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.took.append(time.perf_counter() - self._begun)
        self.wrong += self._parser.get_status_code() != self._status
        self._parser = httptools.HttpResponseParser(self)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(error)

    def _ask(self) -> None:
        self._begun = time.perf_counter()
        self._transport.write(self._request)


async def ask(host: str, port: int, request: bytes, status: int, number: int, seconds: float) -> list[_Connection]:
    """Keep `number` connections busy for `seconds`; return them."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: _Connection(request, status), host, port) for _ in range(number)]
    await asyncio.sleep(seconds)
    for transport, _ in made:
        transport.abort()
    return [connection for _, connection in made]


def main() -> None:
    """Read a request from standard input; print the times of all answers, in seconds, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--number", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    request = sys.stdin.buffer.read()
    found = uvloop.run(ask(options.host, options.port, request, options.status, options.number, options.seconds))
    json.dump(
        {"took": [each for one in found for each in one.took], "wrong": sum(one.wrong for one in found)}, sys.stdout
    )


if __name__ == "__main__":
    main()
