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

LeadId = bytes  # 16 bytes, big-endian, as in the database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = 7 << 76
_VARIANT = 2 << 62

# Position of an id's index in its batch within the 62 bits after the variant; the bits below hold a digest.
_INDEX_SHIFT = 40

_lock = threading.Lock()
_last_micros = 0


def new_lead_id() -> LeadId:
    """Make a lead id of the present time. Within a process each id is greater than the previous one."""
    global _last_micros
    with _lock:
        micros = max(time.time_ns() // 1000, _last_micros + 1)
        _last_micros = micros
    return at(micros, int.from_bytes(os.urandom(8)))


def new_lead_ids(seed: bytes, number: int) -> list[LeadId]:
    """Make `number` ids, 65,536 at most, for leads that were sent together, in order.

    `seed` must be unique to the batch. With it, `same_lead_ids` restores all ids from any one.
    """
    global _last_micros
    with _lock:
        first = max(time.time_ns() // 1000, _last_micros + 1)
        _last_micros = first + number - 1
    return _batch(first, seed, number)


def same_lead_ids(known: LeadId, seed: bytes, number: int) -> list[LeadId]:
    """Restore the ids that `new_lead_ids` made from `seed`; `known` is any one of them."""
    index = int.from_bytes(known[8:]) >> _INDEX_SHIFT & 0xFFFF
    return _batch(micros_of(known) - index, seed, number)


def is_of_batch(lead: LeadId, known: LeadId, seed: bytes) -> bool:
    """Tell whether `new_lead_ids` made `lead` from `seed` in one batch with `known`."""
    index = int.from_bytes(lead[8:]) >> _INDEX_SHIFT & 0xFFFF
    return same_lead_ids(known, seed, index + 1)[index] == lead


def _batch(first: int, seed: bytes, number: int) -> list[LeadId]:
    # Each id has a microsecond of its own; the index in it leads back to the first id's time.
    return [at(first + index, index << _INDEX_SHIFT | _digest(seed, index)) for index in range(number)]


def _digest(seed: bytes, index: int) -> int:
    digest = hashlib.blake2b(index.to_bytes(2), key=seed, digest_size=_INDEX_SHIFT // 8).digest()
    return int.from_bytes(digest)


def at(micros: int, random: int = 0) -> LeadId:
    """Return an id of the time `micros` (microseconds since 1970); with `random` 0 the smallest one of that time.

    `random` (64 bits) fills the free bits: its two highest go beside the fraction, the other 62 after the variant.
    """
    millis, fraction = divmod(micros, 1000)
    # A microsecond takes ten of the fraction's 12 bits; the other two are random.
    rand_a = fraction << 2 | random >> 62
    return (millis << 80 | _VERSION | rand_a << 64 | _VARIANT | random & (1 << 62) - 1).to_bytes(16)


def micros_of(lead_id: LeadId) -> int:
    """Return the creation time within `lead_id`, in microseconds since 1970."""
    bits = int.from_bytes(lead_id[:8])
    return (bits >> 16) * 1000 + min((bits & 0xFFF) >> 2, 999)


def micros_of_all(lead_ids: Iterable[LeadId]) -> list[int]:
    """Return the creation times of many ids, in microseconds since 1970; faster than `micros_of` for each."""
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
    """Parse the form that `to_text` returns, in upper or lower case.

    Raises ValueError for anything else.
    """
    if len(text) != 36 or text[8:24:5] != "----":
        raise ValueError("a UUID is 8, 4, 4, 4 and 12 digits with hyphens between them")
    digits = text.replace("-", "")
    if len(digits) != 32 or not digits.isalnum():  # isalnum, because fromhex ignores blanks
        raise ValueError("a UUID is made of hexadecimal digits")
    return bytes.fromhex(digits)
