"""One request as the log keeps it: a JSON array, its fields in the order of Record; and a page of them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from ingest_api.request_log import redaction
from ingest_api.request_log.redaction import Unreadable

# Bounds on what is kept of one request, in bytes; of the body and of the response each.
KEPT_BODY_MAX = 8 * 1024
HEADERS_MAX = 4 * 1024
QUERY_MAX = 2 * 1024
PATH_MAX = 1024

# Longer bodies that may hold a secret are not taken apart, and so not kept.
REDACTABLE_MAX = 64 * 1024

LOGIN = "/api/login_check"
LEADS = "/api/leads"

# Media types that are text we can read. A client that names none, or another one, is judged by the bytes.
_TEXT = ("application/json", "application/x-ndjson", "text/csv", "text/plain")


class Record(NamedTuple):
    """A request and its answer."""

    time: int  # when it came, microseconds since 1970
    took: int  # microseconds
    request_id: str
    method: str
    path: str
    status: int
    reason: str  # why it was refused; empty: it was not
    client: str
    user: str  # whom its token speaks of; empty: nobody
    headers: str  # lines of `name: value`
    query: str
    body: Any  # an object or array if it is JSON, else text; None: not kept
    body_remark: str  # why the body is not there, or not whole; empty: it is
    response: Any  # likewise
    response_remark: str

    @property
    def moment(self) -> datetime:
        """When the request came."""
        return datetime.fromtimestamp(self.time / 1_000_000, UTC)

    @property
    def header_pairs(self) -> list[tuple[str, str]]:
        """The headers, each with its name and its value."""
        split = (line.partition(": ") for line in self.headers.split("\n") if line)
        return [(name, value) for name, _, value in split]

    @property
    def user_agent(self) -> str:
        """What the client says it is."""
        return dict(self.header_pairs).get("user-agent", "")


def encode(fields: tuple[Any, ...]) -> bytes:
    """Write a record; `fields` are Record's, in its order."""
    return orjson.dumps(tuple(fields))


def page_of(records: list[bytes]) -> bytes:
    """Join records to a page: how many there are, and a JSON array of them."""
    return b"%d [%b]" % (len(records), b",".join(records))


def records_of(page: bytes) -> Iterator[Record]:
    """Yield the records of a page, the last of them first."""
    for fields in reversed(orjson.loads(page.partition(b" ")[2])):
        yield Record(*fields)


def kept(content: bytes) -> tuple[Any, str]:
    """Return what may be kept of a body, and a remark, empty when that is all of it.

    What is kept is an object or array for JSON, else text, or None for nothing.
    """
    size = len(content)
    if size <= KEPT_BODY_MAX:
        value, _ = redaction.json_value(content)
        if value is not None:
            return value, ""
    # Names in a form can be written in other ways than JSON's.
    if redaction.is_suspect(content[:KEPT_BODY_MAX]) or (
        b"%" in content[:KEPT_BODY_MAX] and b"=" in content[:KEPT_BODY_MAX]
    ):
        if size > REDACTABLE_MAX:
            return None, f"not kept: {size} bytes that may hold a secret"
        try:
            content = redaction.json_text(content)
        except Unreadable:
            return None, f"not kept: {size} bytes that may hold a secret and are not valid JSON"
    return _text(content, size)


def kept_of_accepted(body: bytes, response: bytes) -> tuple[Any, str, Any, str]:
    """Return what may be kept of an accepted lead's body and response, and the remarks.

    All that the response holds is the body's fields and names of ours: what is harmless in one is so in the other.
    """
    if len(body) <= KEPT_BODY_MAX and len(response) <= KEPT_BODY_MAX:
        value, harmless = redaction.json_value(body)
        if harmless:
            return value, "", orjson.Fragment(response), ""
    return *kept(body), *kept(response)


def kept_of_login(content: bytes) -> tuple[Any, str]:
    """Return what may be kept of a log-in's body, and a remark, as `kept` does."""
    try:
        return redaction.log_in(content), ""
    except Unreadable:
        return None, f"not kept: {len(content)} bytes that should be a log-in"


def _text(content: bytes, size: int) -> tuple[str | None, str]:
    remark = ""
    if len(content) > KEPT_BODY_MAX:
        content = content[:KEPT_BODY_MAX]
        remark = f"cut off: the first {KEPT_BODY_MAX} of {size} bytes"
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        # The cut may have gone through a character.
        if not remark or error.start < KEPT_BODY_MAX - 4:
            return None, f"not kept: {size} bytes that are not text"
        text = content[: error.start].decode()
    if "\0" in text:
        return None, f"not kept: {size} bytes that are not text"
    return text, remark


def is_text(content_type: str) -> bool:
    """Tell whether a response of that type is kept."""
    return content_type.startswith(_TEXT)


def bounded(text: str, most: int) -> str:
    """Return a text of at most about `most` characters, and say so when it was longer."""
    return text if len(text) <= most else text[:most] + " … (cut off)"
