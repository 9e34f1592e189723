"""An event of the audit trail: made by the API and the command line, kept in the table `audit_trail`."""

import hashlib
import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

import orjson

from schema.lead import lead_id
from schema.lead.lead_id import LeadId, new_lead_id
from schema.lead.source import USER_MARK

# Characters of a user's id: 48 bits of the address's SHA-256.
USER_ID_LENGTH = 12

# Most addresses whose ids are remembered; saves a hash for each request.
USER_IDS_MAX = 10_000

# Lengths of the columns, in characters; longer values are cut.
TEXT_MAX = 64
PARAMETERS_MAX = 255
REQUEST_ID_MAX = 128


class Action(StrEnum):
    """What somebody did."""

    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LIST = "list"
    LEAD_READ = "lead_read"
    EXPORT = "export"
    DEAD_LETTERS_SHOWN = "dead_letters_shown"
    DEAD_LETTERS_REPLAYED = "dead_letters_replayed"
    DEAD_LETTERS_DROPPED = "dead_letters_dropped"
    REQUEST_LOG_SHOWN = "request_log_shown"
    REQUEST_LOG_CLEARED = "request_log_cleared"
    PERSON_SHOWN = "person_shown"
    PERSON_ERASED = "person_erased"
    PERSON_LET_IN = "person_let_in"
    USER_CREATED = "user_created"
    USER_CHANGED = "user_changed"  # password, roles or enabled: the parameter says which
    USER_DISABLED = "user_disabled"
    USER_DELETED = "user_deleted"
    SOURCE_CREATED = "source_created"
    SOURCE_CHANGED = "source_changed"  # rate, daily cap, roles, schema or enabled: the parameter says which
    SOURCE_DISABLED = "source_disabled"
    SOURCE_KEY_CHANGED = "source_key_changed"
    KEY_CHANGED = "key_changed"
    COUNTS_REBUILT = "counts_rebuilt"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. A second one with the same id adds `row_count` to the first."""

    id: LeadId  # a UUIDv7, as a lead's; carries the time
    action: str
    user: str  # from `user_id` or `command_line_user`; empty: nobody who is known
    client: str  # IP address; empty: the command line
    parameters: str  # names of the parameters used, never their values
    row_count: int | None  # leads, dead letters or requests that it was about; None: not known
    subject: str  # id of the user, lead, dead letter or key that it was about
    request_id: str

    @property
    def at(self) -> datetime:
        """The time of the event, in UTC."""
        return lead_id.time_of(self.id)

    def encode(self) -> bytes:
        """Return the event as JSON, for the stream."""
        rest = (self.action, self.user, self.client, self.parameters, self.row_count, self.subject, self.request_id)
        return orjson.dumps((self.id.hex(), *rest))

    @classmethod
    def decode(cls, text: bytes) -> "Event":
        """Parse what `encode` returns. Raises ValueError for anything else."""
        match orjson.loads(text):
            case [str(text_of_id), str(), str(), str(), str(), int() | None, str(), str()] as fields:
                return cls(_id_of(text_of_id), *fields[1:])
        raise ValueError("not an event")


def _id_of(text: str) -> LeadId:
    if len(text) != 32:
        raise ValueError("not an event's id")
    return bytes.fromhex(text)


def new_event(
    action: Action,
    *,
    user: str,
    client: str = "",
    parameters: Iterable[str] = (),
    row_count: int | None = None,
    subject: str = "",
    request_id: str = "",
) -> Event:
    """Make an event of the present time. `parameters` are names, never values."""
    names = ",".join(sorted(parameters))
    return Event(
        new_lead_id(),
        action.value,
        user[:TEXT_MAX],
        client[:TEXT_MAX],
        names[:PARAMETERS_MAX],
        row_count,
        subject[:TEXT_MAX],
        request_id[:REQUEST_ID_MAX],
    )


@lru_cache(USER_IDS_MAX)
def user_id(address: str) -> str:
    """Return the id under which logs and the audit trail know the user with this e-mail address, or the source.

    A user's is a pseudonym: whoever has the address can compute it, and `python -m ingest_api user list` shows both.
    """
    if address.startswith(USER_MARK):
        return address
    return hashlib.sha256(address.lower().encode()).hexdigest()[:USER_ID_LENGTH]


def command_line_user() -> str:
    """Return who runs this command: `cli:` and the name of the process's owner in the operating system."""
    try:
        # Not getpass.getuser(), which believes the environment.
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"cli:{name}"
