"""ingest_api.auth.login_line: a bounded and fair line, left by who has hung up."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ingest_api.auth.login_line import ClientGone, LoginLine
from ingest_api.http.envelope import ApiError


class Check:
    """Log-ins in a line with one check at a time; each holds its turn until `finish`."""

    def __init__(self, waiting_max: int = 10) -> None:
        self.line = LoginLine(1, waiting_max)
        self.served: list[str] = []
        self._finished = asyncio.Semaphore(0)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, lane: str, is_gone: Callable[[], bool] = lambda: False) -> asyncio.Task[None]:
        self._tasks[name] = asyncio.create_task(self._log_in(name, lane, is_gone))
        await asyncio.sleep(0)
        return self._tasks[name]

    async def finish(self, turns: int) -> None:
        for _ in range(turns):
            self._finished.release()
            for _ in range(5):
                await asyncio.sleep(0)

    async def _log_in(self, name: str, lane: str, is_gone: Callable[[], bool]) -> None:
        async with self.line.turn(lane, is_gone):
            self.served.append(name)
            await self._finished.acquire()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


def test_lanes_take_turns():
    async def work() -> None:
        check = Check()
        for name in ("a1", "a2", "a3", "a4", "b1", "c1", "b2"):
            await check.come(name, name[0])

        await check.finish(7)

        assert check.served == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]

    run(work())


def test_beyond_its_length_it_is_503_and_room_is_made_by_who_has_hung_up():
    async def work() -> None:
        check = Check(waiting_max=2)
        gone: set[str] = set()
        await check.come("served", "a")
        first = await check.come("first", "a", lambda: "first" in gone)
        await check.come("second", "b")

        with pytest.raises(ApiError) as refused:
            await (await check.come("third", "c"))
        gone.add("first")
        await check.come("fourth", "c")
        await check.finish(4)

        assert (refused.value.status_code, refused.value.reason) == (503, "login_busy")
        assert isinstance(first.exception(), ClientGone)
        assert check.served == ["served", "second", "fourth"]

    run(work())


def test_who_has_hung_up_is_passed_over_when_the_turn_comes():
    async def work() -> None:
        check = Check()
        await check.come("served", "a")
        gone = [await check.come(f"gone{number}", "b", lambda: True) for number in range(5)]
        await check.come("last", "c")

        await check.finish(1)
        await check.finish(1)

        assert all(isinstance(each.exception(), ClientGone) for each in gone)
        assert check.served == ["served", "last"]

    run(work())


@pytest.mark.parametrize("is_served", [False, True])
def test_a_cancelled_log_in_keeps_no_turn(is_served: bool):
    async def work() -> None:
        check = Check()
        await check.come("served", "a")
        waits = await check.come("cancelled", "a")
        if is_served:
            check._finished.release()
            while not check.line._free and check.line.waiting:
                await asyncio.sleep(0)
        waits.cancel()
        await check.finish(2)

        await check.come("next", "b")

        assert check.served[-1] == "next"
        assert check.line.waiting == 0

    run(work())
