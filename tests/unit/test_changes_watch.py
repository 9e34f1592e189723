"""ingest_api.reads.changes_watch and changes_feed: who waits, until when, and what all of them cost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ingest_api.http.envelope import ApiError, unavailable
from ingest_api.parameters.changes import ChangesQuery
from ingest_api.reads import changes, changes_watch
from ingest_api.reads.changes import Step
from ingest_api.reads.changes_cursor import ChangesCursor
from ingest_api.reads.changes_feed import ChangesFeed
from ingest_api.reads.changes_watch import ChangesWatch


class Database:
    """A reader of a database that has the positions in `last`, and counts what it is asked."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.looks = 0
        self.steps = 0
        self.failure: Exception | None = None

    async def one_statement(self, function: Callable[..., Any], *_: Any, **__: Any) -> Any:
        self.looks += 1
        if self.failure:
            raise self.failure
        return dict(self.last)

    async def in_snapshot(self, function: Callable[..., Any], *args: Any, **__: Any) -> Any:
        assert function is changes.step
        self.steps += 1
        cursor: ChangesCursor = args[0]
        last = dict(self.last)
        await asyncio.sleep(0.01)
        leads = [b"{}" for slot in cursor.ahead(last)]
        return Step(leads, cursor.at(last), is_last=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_watch, "CHANGES_INTERVAL", 0.02)


def stays() -> bool:
    return False


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def query(wait: int = 30, after: str = "") -> ChangesQuery:
    return ChangesQuery(after, 100, wait, None)


def test_a_thousand_readers_cost_one_query_and_one_read():
    async def run() -> None:
        database = Database()
        feed = ChangesFeed(database, asyncio.Event())
        readers = [asyncio.create_task(feed.read(query(), stays)) for _ in range(1000)]
        while not database.looks:
            await asyncio.sleep(0.01)
        steps, looks = database.steps, database.looks

        database.last = {3: 7}
        found = await asyncio.gather(*readers)

        assert {(len(each.step.leads), each.step.cursor.encode()) for each in found} == {
            (1, ChangesCursor(positions={3: 7}).encode())
        }
        assert (steps, database.steps) == (1, 2)
        assert database.looks <= looks + 2
        assert all(each.waited > 0 for each in found)

    asyncio.run(run())


def test_nobody_waits_nobody_asks():
    async def run() -> None:
        database = Database()
        watch = ChangesWatch(database, asyncio.Event())
        await watch.wait(ChangesCursor(), in_seconds(0.05), stays)
        await asyncio.sleep(0.05)
        looks = database.looks
        await asyncio.sleep(0.1)
        assert database.looks == looks

        # And the next one who waits is woken as the first
        database.last = {0: 1}
        begun = in_seconds(0)
        await watch.wait(ChangesCursor(), in_seconds(30), stays)
        assert in_seconds(0) - begun < 10

    asyncio.run(run())


def test_who_is_at_the_end_sleeps_on_while_others_are_woken():
    async def run() -> None:
        database = Database()
        database.last = {1: 5, 2: 6}
        watch = ChangesWatch(database, asyncio.Event())
        behind = asyncio.create_task(watch.wait(ChangesCursor(positions={1: 5}), in_seconds(30), stays))
        at_the_end = asyncio.create_task(watch.wait(ChangesCursor(positions={1: 5, 2: 6}), in_seconds(30), stays))

        await behind

        assert not at_the_end.done()
        at_the_end.cancel()

    asyncio.run(run())


def test_a_wait_ends_empty_with_the_same_cursor():
    async def run() -> None:
        database = Database()
        at = ChangesCursor(positions={1: 5}).encode()
        found = await ChangesFeed(database, asyncio.Event()).read(query(wait=1, after=at), stays)

        assert (found.step.leads, found.step.cursor.encode(), database.steps) == ([], at, 1)

    asyncio.run(run())


def test_all_are_answered_at_once_when_the_process_stops():
    async def run() -> None:
        stopping = asyncio.Event()
        feed = ChangesFeed(Database(), stopping)
        readers = [asyncio.create_task(feed.read(query(), stays)) for _ in range(10)]
        await asyncio.sleep(0.05)
        assert not any(each.done() for each in readers)

        stopping.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*readers)
            # Nor does anybody wait who comes later
            await feed.read(query(), stays)

    asyncio.run(run())


def test_a_client_that_has_gone_frees_its_place():
    async def run() -> None:
        gone: list[bool] = []
        watch = ChangesWatch(Database(), asyncio.Event())
        waiting = asyncio.create_task(watch.wait(ChangesCursor(), in_seconds(30), lambda: bool(gone)))
        await asyncio.sleep(0.05)
        assert not waiting.done()

        gone.append(True)
        async with asyncio.timeout(10):
            await waiting

    asyncio.run(run())


def test_too_many_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(changes_watch, "CHANGES_WAITING_MAX", 3)

    async def run() -> None:
        watch = ChangesWatch(Database(), asyncio.Event())
        waiting = [asyncio.create_task(watch.wait(ChangesCursor(), in_seconds(30), stays)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as caught:
            await watch.wait(ChangesCursor(), in_seconds(30), stays)
        assert (caught.value.status_code, caught.value.reason) == (503, "changes_busy")

        # One that is over leaves its place.
        waiting.pop().cancel()
        await asyncio.sleep(0.05)
        await watch.wait(ChangesCursor(), in_seconds(0), stays)
        for each in waiting:
            each.cancel()

    asyncio.run(run())


def test_a_database_that_is_away_is_told_to_all_who_wait():
    async def run() -> None:
        database = Database()
        database.failure = unavailable("The database does not answer.", "database_away")
        watch = ChangesWatch(database, asyncio.Event())
        waiting = [watch.wait(ChangesCursor(), in_seconds(30), stays) for _ in range(5)]

        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in found} == {ApiError}

        database.failure, database.last = None, {0: 1}
        await watch.wait(ChangesCursor(), in_seconds(30), stays)

    asyncio.run(run())
