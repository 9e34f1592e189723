"""One check for all who ask within a second."""

import asyncio

import pytest

from ingest_api.reads import shared_answer
from ingest_api.reads.shared_answer import SharedAnswer


class Check:
    """A check that counts how often it was made, and waits until it may end."""

    def __init__(self) -> None:
        self.made = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.made += 1
        made = self.made
        await self.may_end.wait()
        if made == 3:
            raise RuntimeError("the third fails")
        return made


def test_who_asks_meanwhile_or_soon_after_shares_the_answer(monkeypatch: pytest.MonkeyPatch):
    async def ask() -> None:
        check = Check()
        shared = SharedAnswer(check)
        askers = [asyncio.create_task(shared.get()) for _ in range(50)]
        await asyncio.sleep(0)
        # One that gives up takes nobody's answer away.
        askers[0].cancel()
        await asyncio.sleep(0)
        check.may_end.set()
        assert set(await asyncio.gather(*askers[1:])) == {1}
        assert await shared.get() == 1

        monkeypatch.setattr(shared_answer, "MAX_AGE", 0.0)
        assert await shared.get() == 2
        with pytest.raises(RuntimeError):
            await shared.get()
        assert await shared.get() == 4

    asyncio.run(ask())
