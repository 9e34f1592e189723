"""The line before the password checks: bounded, left by who has hung up, and fair."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ingest_api.http.envelope import ApiError, unavailable

_Waiter = tuple[asyncio.Future[None], Callable[[], bool]]


class LoginLine:
    """Lets a few log-ins at a time be checked. Those that wait take turns by lane, so that no lane fills the line."""

    def __init__(self, checks: int, waiting_max: int) -> None:
        """Take how many are checked at a time, and how many may wait."""
        self._free = checks
        self._waiting_max = waiting_max
        self._lanes: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Number of log-ins that wait."""
        return sum(map(len, self._lanes.values()))

    @asynccontextmanager
    async def turn(self, lane: str, is_gone: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait for a turn, and hold it within the block. `is_gone` tells whether the client has hung up.

        Raises the 503 when too many wait, and ClientGone when the client did not wait.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(lane, is_gone)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, lane: str, is_gone: Callable[[], bool]) -> None:
        if self.waiting >= self._waiting_max:
            self._drop_gone()
        if self.waiting >= self._waiting_max:
            raise unavailable("Too many log-ins wait.", "login_busy")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(lane, deque()).append((turn, is_gone))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the turn to the next lane's first that has not hung up."""
        while self._lanes:
            lane, waiters = self._lanes.popitem(last=False)
            turn, is_gone = waiters.popleft()
            if waiters:
                self._lanes[lane] = waiters
            if _still_waits(turn, is_gone):
                turn.set_result(None)
                return
        self._free += 1

    def _drop_gone(self) -> None:
        for lane, waiters in list(self._lanes.items()):
            still = deque(each for each in waiters if _still_waits(*each))
            if still:
                self._lanes[lane] = still
            else:
                del self._lanes[lane]


class ClientGone(ApiError):
    """The client has hung up, and nobody reads the answer. The status is the one that nginx logs."""

    def __init__(self) -> None:
        super().__init__("499 Client Closed Request", "The client has gone.", "client_gone")


def _still_waits(turn: asyncio.Future[None], is_gone: Callable[[], bool]) -> bool:
    """Tell whether somebody waits for the turn; wake who has hung up with ClientGone."""
    if not turn.done() and is_gone():
        turn.set_exception(ClientGone())
    return not turn.done()
