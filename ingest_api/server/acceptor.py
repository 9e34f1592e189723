"""Accepts connections, and leaves the other API processes their share.

All of them wait on the same socket. A server that takes whatever is there, as asyncio's and uvloop's do, gets all that
come in one burst, such as a proxy's pool: 32 of 33 were seen on one of two processes, which has one core for them.
"""

import asyncio
import socket
from collections.abc import Callable, Sized

from schema.runtime import logs

# Seconds that a process leaves what waits to the others, after it took one more connection than it had lately. As long
# as they leave something, it takes one more at a time after so many turns: with nobody else about, a burst of a hundred
# takes some 35.
TURN = 0.001
TURNS_ALIKE = 8

# Seconds for which it remembers how many it had. Where each request comes on a connection of its own, their number does
# not grow, and nobody waits.
LATELY = 1.0

# Seconds until it tries again when the system had no file or no memory for a connection.
RETRY = 1.0

log = logs.get(__name__)


class Acceptor:
    """One process's accepting on a listening socket. Use it from the event loop; `close` leaves the socket open.

    `connections` are those that the process has, on any socket.
    """

    def __init__(
        self, listener: socket.socket, protocol_factory: Callable[[], asyncio.Protocol], connections: Sized
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._file = listener.fileno()
        self._protocol_factory = protocol_factory
        self._connections = connections
        self._begun: set[asyncio.Task[None]] = set()
        self._closed = False
        self._most = 0  # connections, lately
        self._lately = 0.0  # until when that counts, in the loop's time
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._loop.add_reader(self._file, self._take)

    def close(self) -> None:
        """Accept no more. May be called again."""
        if self._pause is not None:
            self._pause.cancel()
        elif not self._closed:
            self._loop.remove_reader(self._file)
        self._closed = True

    def _take(self, turn: int = 0) -> None:
        """Take a connection, or some in a late turn; then leave a turn to the others, or wait for the next one."""
        try:
            for _ in range(1 + turn // TURNS_ALIKE):
                self._accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._wait()
        except OSError as error:
            log.error("connection not accepted", reason=error.strerror)
            self._wait_again(RETRY, 0)
        else:
            if self._has_grown():
                self._wait_again(TURN, turn + 1)
            else:
                self._wait()

    def _wait(self) -> None:
        if self._pause is not None:
            self._pause = None
            self._loop.add_reader(self._file, self._take)

    def _wait_again(self, seconds: float, turn: int) -> None:
        if self._pause is None:
            self._loop.remove_reader(self._file)
        self._pause = self._loop.call_later(seconds, self._take, turn)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        task = self._loop.create_task(self._begin(connection))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._protocol_factory, connection)
        except OSError:  # the client has gone already
            connection.close()

    def _has_grown(self) -> bool:
        """Tell whether the process has more connections than it had lately."""
        count, now = len(self._connections) + len(self._begun), self._loop.time()
        if now >= self._lately:
            self._most, self._lately = count, now + LATELY
        grown = count > self._most
        self._most = max(self._most, count)
        return grown
