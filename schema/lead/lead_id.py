"""Lead ids: UUIDv7 whose bits carry the creation time to the microsecond.

RFC 9562, section 6.2, method 3: the 12 bits after the version hold the fraction of the
millisecond, so that ids sort by creation time and the time can be read back from the id.
"""

import hashlib
import os
import struct
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

LeadId = bytes  # 16 bytes, big-endian, as the database keeps it

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = 7 << 76
_VARIANT = 2 << 62

# Of the 62 bits after the variant, those below the index of an id in its batch.
_INDEX_SHIFT = 40

_lock = threading.Lock()
_last_micros = 0


def new_lead_id() -> LeadId:
    """Make a lead id of this moment. Within a process each id is greater than the one before it."""
    global _last_micros
    with _lock:
        micros = max(time.time_ns() // 1000, _last_micros + 1)
        _last_micros = micros
    return at(micros, int.from_bytes(os.urandom(8)))


def new_lead_ids(seed: bytes, number: int) -> list[LeadId]:
    """Make the ids of leads that were sent together, in their order: `number` of them, 65,536 at most.

    `seed` is what only this batch has. With it, `same_lead_ids` makes all of them again from any one.
    """
    global _last_micros
    with _lock:
        first = max(time.time_ns() // 1000, _last_micros + 1)
        _last_micros = first + number - 1
    return _batch(first, seed, number)


def same_lead_ids(known: LeadId, seed: bytes, number: int) -> list[LeadId]:
    """Make the ids again that `new_lead_ids` made from `seed`, of which `known` is one."""
    index = int.from_bytes(known[8:]) >> _INDEX_SHIFT & 0xFFFF
    return _batch(micros_of(known) - index, seed, number)


def _batch(first: int, seed: bytes, number: int) -> list[LeadId]:
    # A microsecond for each, as for leads that come alone; the index is what leads back to the first of them.
    return [at(first + index, index << _INDEX_SHIFT | _digest(seed, index)) for index in range(number)]


def _digest(seed: bytes, index: int) -> int:
    digest = hashlib.blake2b(index.to_bytes(2), key=seed, digest_size=_INDEX_SHIFT // 8).digest()
    return int.from_bytes(digest)


def at(micros: int, random: int = 0) -> LeadId:
    """Return the id of the time `micros` (microseconds since 1970); with `random` 0 the least one of that time.

    `random` gives the id's 64 free bits; the two highest and two others are spent on version and variant.
    """
    millis, fraction = divmod(micros, 1000)
    # A thousandth is four steps of the 12-bit fraction; the two bits left over are random.
    rand_a = fraction << 2 | random >> 62
    return (millis << 80 | _VERSION | rand_a << 64 | _VARIANT | random & (1 << 62) - 1).to_bytes(16)


def micros_of(lead_id: LeadId) -> int:
    """Return the creation time within `lead_id`, in microseconds since 1970."""
    bits = int.from_bytes(lead_id[:8])
    return (bits >> 16) * 1000 + min((bits & 0xFFF) >> 2, 999)


def micros_of_all(lead_ids: Iterable[LeadId]) -> list[int]:
    """Return the creation time within each of many ids, in less than half the time."""
    return [
        (bits >> 16) * 1000 + (fraction if (fraction := (bits & 0xFFF) >> 2) < 999 else 999)
        for (bits,) in struct.iter_unpack(">Q8x", b"".join(lead_ids))
    ]


def time_of(lead_id: LeadId) -> datetime:
    """Return the creation time within `lead_id` as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=micros_of(lead_id))


FIRST_ID = bytes(16)
LAST_ID = b"\xff" * 16


def to_text(lead_id: LeadId) -> str:
    """Return the id in its usual form of 36 characters."""
    text = lead_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def from_text(text: str) -> LeadId:
    """Parse the form `to_text` returns, in either case.

    Raises ValueError for anything else.
    """
    if len(text) != 36 or text[8:24:5] != "----":
        raise ValueError("a UUID is 8, 4, 4, 4 and 12 digits with hyphens between them")
    digits = text.replace("-", "")
    if len(digits) != 32 or not digits.isalnum():  # blanks are what fromhex passes over
        raise ValueError("a UUID is made of hexadecimal digits")
    return bytes.fromhex(digits)
