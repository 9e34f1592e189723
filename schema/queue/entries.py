"""An entry of the stream: parses it, and decodes its lead into a row."""

from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from schema.database.idempotency import Remembered
from schema.database.lead_row import LeadRow
from schema.lead import lead_id
from schema.lead.lead_id import LeadId
from schema.lead.source import is_name
from schema.queue import keys
from schema.queue.keys import EMAIL_MARK, PHONE_MARK

DIGEST_SIZE = 32  # bytes of a SHA-256

# The fields' names as Redis returns them.
LEAD_FIELD, KEY_FIELD, DIGEST_FIELD = (name.encode() for name in (keys.LEAD_FIELD, keys.KEY_FIELD, keys.DIGEST_FIELD))
FIRST_OF_FIELD, LOOK_FIELD, TRACE_FIELD = (
    name.encode() for name in (keys.FIRST_OF_FIELD, keys.LOOK_FIELD, keys.TRACE_FIELD)
)


class BadEntry(ValueError):
    """An entry that holds no valid lead; the message says why and quotes none of its values."""


class Entry(NamedTuple):
    """One lead in the stream: the entry's name in Redis, and the lead as it was accepted."""

    name: bytes  # "<milliseconds>-<number>", assigned by Redis
    payload: bytes  # JSON
    key: bytes = b""  # schema.database.idempotency.key_of in hexadecimal; empty: none
    digest: bytes = b""  # SHA-256 of the lead's fields; empty without a key
    first_of: str = ""  # EMAIL_MARK, PHONE_MARK or both: the contacts that it is the first lead of
    look_days: int = 0  # within which there may be a first lead that Redis did not know; 0: there is none
    trace: bytes = b""  # schema.runtime.tracing.carrier_of; empty unless its request is traced

    def row(self) -> LeadRow:
        """Decode the payload as a row of the table `leads`.

        Raises BadEntry.
        """
        return decode(self.payload)

    def contacts_opened(self, email: bytes, phone: bytes) -> list[bytes]:
        """Return those of its contacts that it is the first lead of."""
        return [each for mark, each in ((EMAIL_MARK, email), (PHONE_MARK, phone)) if mark in self.first_of]

    def remembered(self, lead: LeadId) -> Remembered | None:
        """Return the lead's idempotency key, or None.

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
    """Make an Entry from redis-py's answer. Without a lead's field the payload is empty."""
    get = (fields or {}).get
    days = get(LOOK_FIELD, b"")
    return Entry(
        name,
        get(LEAD_FIELD, b""),
        get(KEY_FIELD, b""),
        get(DIGEST_FIELD, b""),
        get(FIRST_OF_FIELD, b"").decode("ascii", "replace"),
        int(days) if days.isdigit() else 0,
        get(TRACE_FIELD, b""),
    )


def parse_flat(name: bytes, fields: list[bytes]) -> Entry:
    """Make an Entry from Redis's raw answer: a flat list of alternating names and values."""
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
        source, consent, first_lead = lead.get("source"), lead.get("consent"), lead.get("duplicateOf")
        first, last, email, phone = lead["firstName"], lead["lastName"], lead["email"], lead["phone"]
        if not type(first) is type(last) is type(email) is type(phone) is str:
            raise TypeError
        if source is not None and not is_name(source):
            raise ValueError
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
            source,
            None if consent is None else orjson.dumps(consent).decode(),
            None if first_lead is None else lead_id.from_text(first_lead),
            first_lead is not None,
        )
    except orjson.JSONDecodeError:
        raise BadEntry("not JSON") from None
    except KeyError as error:
        raise BadEntry(f"no {error.args[0]}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BadEntry(f"{type(error).__name__} in a field") from None


def _moment(text: str) -> str:
    """Convert a time of `schema.lead.codec.format_time` to SQL's form. Raises ValueError."""
    second, micros, end = text[:19], text[20:26], text[26:]
    if text[19:20] != "." or end != "Z" or not (micros.isascii() and micros.isdigit()):
        raise ValueError("not a time as it is accepted")
    return f"{_second(second)}.{micros}"


@lru_cache(maxsize=64)
def _second(text: str) -> str:
    """Convert the part of a time before its fraction. Cached for the leads of one second."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").isoformat(" ", "seconds")  # noqa: DTZ007, it is for a column


def source_of(payload: bytes) -> str:
    """Return the source in a payload, or "" when a user sent it."""
    try:
        return str(orjson.loads(payload).get("source", ""))
    except (ValueError, AttributeError):
        return ""


def email_and_phone_of(payload: bytes) -> tuple[str, str] | None:
    """Return the e-mail address and the number in a payload, or None."""
    try:
        lead = orjson.loads(payload)
        email, phone = lead["email"], lead["phone"]
    except (ValueError, TypeError, KeyError):
        return None
    return (email, phone) if isinstance(email, str) and isinstance(phone, str) else None


def id_of(payload: bytes) -> LeadId | None:
    """Return the lead id in a payload, or None."""
    try:
        return lead_id.from_text(orjson.loads(payload)["id"])
    except (ValueError, TypeError, KeyError):
        return None
