"""One answer for all who ask within a second, so that asking often costs nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Age, seconds, from which an answer is asked for again.
MAX_AGE = 1.0


class SharedAnswer(Generic[T]):
    """Shares what `ask` returns, or raises, with everybody who asks within MAX_AGE of its beginning, and meanwhile.

    Use it from one event loop.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asked = 0.0
        self._answer: asyncio.Future[T] | None = None

    async def get(self) -> T:
        """Return the answer; it was begun at most MAX_AGE seconds ago, or has not come yet."""
        now = time.monotonic()
        if self._answer is None or (self._answer.done() and now - self._asked >= MAX_AGE):
            self._asked = now
            self._answer = asyncio.ensure_future(self._ask())
        # One that gives up leaves the others their answer.
        return await asyncio.shield(self._answer)
