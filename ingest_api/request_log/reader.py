"""Reads the request log."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
import redis

from ingest_api.request_log.record import Record, decode
from schema.stream import REQUEST_ERRORS, REQUESTS

PAGE = 250  # requests read at once


class Requests:
    """The requests in the log. Every method raises RedisError when Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client  # redis-py's types leave open whether text or bytes come back

    def last(self, number: int) -> list[Record]:
        """Return the last requests, the oldest of them first."""
        return self._last(REQUESTS, number)

    def last_errors(self, number: int) -> list[Record]:
        """Return the last requests that were answered with 400 or more, the oldest of them first."""
        return self._last(REQUEST_ERRORS, number)

    def find(self, request_id: str) -> list[Record]:
        """Return the requests of that id, the oldest first: a client may give one to several."""
        mark = orjson.dumps(request_id)
        # An error may be in both, and is longer in its own.
        found = {data: decode(data) for key in (REQUESTS, REQUEST_ERRORS) for data in self._walk(key) if mark in data}
        return _by_time([each for each in found.values() if each.request_id == request_id])

    def clear(self) -> int:
        """Delete the whole log and return how many requests were in it."""
        with self._client.pipeline() as pipeline:
            number, errors, _ = pipeline.llen(REQUESTS).llen(REQUEST_ERRORS).delete(REQUESTS, REQUEST_ERRORS).execute()
        return int(max(number, errors))

    def _last(self, key: str, number: int) -> list[Record]:
        # Several processes write, each a few requests at once: the order is almost that of time. A page more is read.
        newest = islice(self._walk(key), number + PAGE)
        return _by_time([decode(each) for each in newest])[-number:]

    def _walk(self, key: str) -> Iterator[bytes]:
        """Walk the list, the newest first. What comes in meanwhile can make it show requests twice, and hide none."""
        end = -1
        while page := self._client.lrange(key, end - PAGE + 1, end):
            yield from reversed(page)
            end -= PAGE


def _by_time(records: list[Record]) -> list[Record]:
    return sorted(records, key=lambda each: each.time + each.took)
