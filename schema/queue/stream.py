"""The queue in Redis: its keys, its consumer group, and how an entry holds a lead.

leads:stream       stream   the accepted leads that are not stored yet; an entry leaves when its row is committed
leads:dead         stream   the dead letters: leads that cannot be stored, each with its reason
leads:index        hash     lead id (16 bytes) -> where it waits: "<entry>" or "dead:<entry>"
leads:accepted     hash     "<width>:<first second>" -> leads accepted in that bucket; "epoch" -> when it began;
leads:rate:<ip>    string   requests of that client in its window; expires with the window
leads:key:<sha>    string   lead id and SHA-256 of the body that an Idempotency-Key was used with
leads:requests     list     the last requests, the oldest first, in pages as ingest_api.request_log.record writes them;
                            leads:requests:held is how many they hold
leads:requests:errors  list the last ones that were answered with 400 or more; leads:requests:errors:held likewise
leads:tickets      list     Celery's queue of tickets (kombu names the list like the queue); leads:sweeps likewise
"""

from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from schema.database.idempotency import Remembered
from schema.database.lead_row import LeadRow
from schema.lead import lead_id
from schema.lead.lead_id import LeadId

STREAM = "leads:stream"
DEAD = "leads:dead"
INDEX = "leads:index"
ACCEPTED = "leads:accepted"
RATE = "leads:rate:"
KEY = "leads:key:"
REQUESTS = "leads:requests"
REQUESTS_HELD = f"{REQUESTS}:held"
REQUEST_ERRORS = f"{REQUESTS}:errors"
REQUEST_ERRORS_HELD = f"{REQUEST_ERRORS}:held"

GROUP = "workers"

DIGEST_SIZE = 32  # bytes of a SHA-256

# Fields of an entry: the lead as schema.lead.codec wrote it; its Idempotency-Key, if it had one, and the SHA-256 of its
# fields; for a dead letter also why.
LEAD_FIELD = b"lead"
KEY_FIELD = b"key"
DIGEST_FIELD = b"digest"
REASON_FIELD = b"reason"

DEAD_PREFIX = b"dead:"


class BadEntry(ValueError):
    """An entry that holds no lead; the message says what is wrong, without any of its values."""


class Entry(NamedTuple):
    """One lead in the stream: the entry's name in Redis, and the lead as it was accepted."""

    name: bytes  # "<milliseconds>-<number>", given by Redis
    payload: bytes  # JSON
    key: bytes = b""  # its Idempotency-Key, as schema.database.idempotency.key_of wrote it; empty: none
    digest: bytes = b""

    def row(self) -> LeadRow:
        """Decode the payload as a row of the table `leads`.

        Raises BadEntry.
        """
        return decode(self.payload)

    def remembered(self, lead: LeadId) -> Remembered | None:
        """Return the idempotency key that the lead came with, or None.

        Raises BadEntry.
        """
        if not self.key:
            return None
        try:
            key = bytes.fromhex(self.key.decode("ascii"))
        except ValueError:
            raise BadEntry("a key that is not hexadecimal") from None
        if len(key) != DIGEST_SIZE or len(self.digest) != DIGEST_SIZE:
            raise BadEntry("a key or digest of another length")
        return Remembered(key, self.digest, lead)


def parse(name: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    """Make an Entry of what redis-py returned. Fields that hold no lead give an empty payload."""
    get = (fields or {}).get
    return Entry(name, get(LEAD_FIELD, b""), get(KEY_FIELD, b""), get(DIGEST_FIELD, b""))


def parse_flat(name: bytes, fields: list[bytes]) -> Entry:
    """Make an Entry of what Redis returned: names and values in turns."""
    if len(fields) == 2 and fields[0] == LEAD_FIELD:
        return Entry(name, fields[1])
    return parse(name, dict(zip(fields[::2], fields[1::2], strict=True)))


def decode(payload: bytes) -> LeadRow:
    """Decode the JSON that `schema.lead.codec.encode` wrote into a row of the table `leads`.

    Raises BadEntry.
    """
    try:
        lead = orjson.loads(payload)
        data = lead["additionalData"]
        created, updated = lead["createdAt"], lead["updatedAt"]
        first, last, email, phone = lead["firstName"], lead["lastName"], lead["email"], lead["phone"]
        if not type(first) is type(last) is type(email) is type(phone) is str:
            raise TypeError
        created_at = _moment(created)
        return LeadRow(
            lead_id.from_text(lead["id"]),
            first,
            last,
            email,
            phone,
            date.fromisoformat(lead["dateOfBirth"]).isoformat(),
            None if data is None else orjson.dumps(data).decode(),
            created_at,
            created_at if updated == created else _moment(updated),
        )
    except orjson.JSONDecodeError:
        raise BadEntry("not JSON") from None
    except KeyError as error:
        raise BadEntry(f"no {error.args[0]}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BadEntry(f"{type(error).__name__} in a field") from None


def _moment(text: str) -> str:
    """Write what `schema.lead.codec.format_time` wrote as the databases do."""
    second, micros, end = text[:19], text[20:26], text[26:]
    if text[19:20] != "." or end != "Z" or not (micros.isascii() and micros.isdigit()):
        raise ValueError("not a time as it is accepted")
    return f"{_second(second)}.{micros}"


@lru_cache(maxsize=64)
def _second(text: str) -> str:
    """Write the part of a time before its fraction: the leads of one second share it."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").isoformat(" ", "seconds")  # noqa: DTZ007, it is for a column


def id_of(payload: bytes) -> LeadId | None:
    """Return the id within a payload, or None when it holds none."""
    try:
        return lead_id.from_text(orjson.loads(payload)["id"])
    except (ValueError, TypeError, KeyError):
        return None
