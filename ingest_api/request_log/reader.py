"""Reads the request log."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ingest_api.request_log.record import Record, records_in
from schema.queue.keys import REQUEST_ERRORS, REQUEST_ERRORS_HELD, REQUESTS, REQUESTS_HELD
from schema.runtime.redis_clients import ShardClient

PAGES = 8  # in one LRANGE

# Requests read beyond the number asked for, to sort by time: processes append whole pages, so the list's order is only
# roughly chronological.
MORE = 1000


class Requests:
    """The requests in the log. Every method raises RedisError when Redis is away."""

    def __init__(self, shard: ShardClient, most: int) -> None:
        """Take the most requests that the log keeps, which is also the most errors."""
        self._client: Any = shard.client  # redis-py's types do not say whether text or bytes are returned
        self._name = shard.shard.name
        self._most = most

    def last(self, number: int) -> list[Record]:
        """Return the last requests, oldest first."""
        return self._last(REQUESTS, number)

    def last_errors(self, number: int) -> list[Record]:
        """Return the last requests that were answered with 400 or more, oldest first."""
        return self._last(REQUEST_ERRORS, number)

    def find(self, request_id: str) -> list[Record]:
        """Return the requests with that id, oldest first. Clients may use an id more than once."""
        # An error is in both lists, and stays longer in its own.
        found = {
            (each.time, each.took): each
            for key in (REQUESTS, REQUEST_ERRORS)
            for each in self._walk(key)
            if each.request_id == request_id
        }
        return _by_time(found.values())

    def clear(self) -> int:
        """Delete the whole log and return the number of requests in it."""
        held = [self._name(each) for each in (REQUESTS_HELD, REQUEST_ERRORS_HELD)]
        lists = [self._name(each) for each in (REQUESTS, REQUEST_ERRORS)]
        with self._client.pipeline() as pipeline:
            numbers, _ = pipeline.mget(held).delete(*lists, *held).execute()
        return min(self._most, max(int(each or 0) for each in numbers))

    def _last(self, key: str, number: int) -> list[Record]:
        return _by_time(islice(self._walk(key), number + MORE))[-number:]

    def _walk(self, key: str) -> Iterator[Record]:
        """Yield the list's records, newest first. Concurrent appends may repeat a record, but never hide one."""
        return islice((each for page in self._pages(key) for each in records_in(page)), self._most)

    def _pages(self, key: str) -> Iterator[bytes]:
        end = -1
        while pages := self._client.lrange(self._name(key), end - PAGES + 1, end):
            yield from reversed(pages)
            end -= PAGES


def _by_time(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda each: each.time + each.took)
