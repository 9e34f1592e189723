"""Pages of the request log in Redis: how many records one holds, a blank, and a JSON array of them.

A record is an array; its first field is the time of arrival in microseconds since 1970, its third the request id.
"""

from typing import Any

import orjson


def page_of(records: list[bytes]) -> bytes:
    """Encode a page of encoded records."""
    return b"%d [%b]" % (len(records), b",".join(records))


def records_of(page: bytes) -> list[list[Any]]:
    """Decode the records of a page, in order."""
    found: list[list[Any]] = orjson.loads(page.partition(b" ")[2])
    return found


def without(page: bytes, records: list[list[Any]]) -> bytes:
    """Return a page without some of its records, or nothing when none is left."""
    left = [orjson.dumps(each) for each in records_of(page) if each not in records]
    return page_of(left) if left else b""
