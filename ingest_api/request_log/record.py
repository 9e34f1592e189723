"""The stored form of a request, a JSON array of Record's fields in order, in a page of the log."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from ingest_api.request_log import redaction
from ingest_api.request_log.redaction import Unreadable
from schema.queue import request_pages

# Most bytes kept of the parts of one request; KEPT_BODY_MAX holds for the body and for the response.
KEPT_BODY_MAX = 8 * 1024
HEADERS_MAX = 4 * 1024
QUERY_MAX = 2 * 1024
PATH_MAX = 1024

# Longest body (bytes) that is parsed for redaction; a longer one that may hold a secret is not kept.
REDACTABLE_MAX = 64 * 1024

LOGIN = "/api/login_check"
LEADS = "/api/leads"
STATUS_PATH = "/api/status"

# Media types of responses that are kept.
_TEXT = ("application/json", "application/x-ndjson", "text/csv", "text/plain")


class Record(NamedTuple):
    """A request and its answer."""

    time: int  # arrival, microseconds since 1970
    took: int  # microseconds
    request_id: str
    method: str
    path: str
    status: int
    reason: str  # error code; empty: none
    client: str
    user: str  # from the token; empty: none
    headers: str  # lines of `name: value`
    query: str
    body: Any  # an object or array if it is JSON, else text; None: not kept
    body_remark: str  # why the body is missing or cut; empty: it is whole
    response: Any  # likewise
    response_remark: str

    @property
    def moment(self) -> datetime:
        """The time of arrival, in UTC."""
        return datetime.fromtimestamp(self.time / 1_000_000, UTC)

    @property
    def header_pairs(self) -> list[tuple[str, str]]:
        """The headers as pairs of name and value."""
        split = (line.partition(": ") for line in self.headers.split("\n") if line)
        return [(name, value) for name, _, value in split]

    @property
    def user_agent(self) -> str:
        """The User-Agent header, or ""."""
        return dict(self.header_pairs).get("user-agent", "")


def encode(fields: tuple[Any, ...]) -> bytes:
    """Encode a record; `fields` are Record's, in order."""
    return orjson.dumps(tuple(fields))


def records_in(page: bytes) -> Iterator[Record]:
    """Yield the records of a page, last first."""
    for fields in reversed(request_pages.records_of(page)):
        yield Record(*fields)


def kept(content: bytes) -> tuple[Any, str]:
    """Return the redacted body, and a remark: empty when it is whole, else why it is missing or cut.

    The body is an object or array if it is JSON, else text, or None when it is not kept.
    """
    size = len(content)
    if size <= KEPT_BODY_MAX:
        value, _ = redaction.json_value(content)
        if value is not None:
            return value, ""
    # Names in a form may be percent-encoded, and then look harmless.
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
    """Return what is kept of an accepted lead's body and response, each with its remark as of `kept`.

    The response repeats the body's fields, so a body without secrets means a response without secrets.
    """
    if len(body) <= KEPT_BODY_MAX and len(response) <= KEPT_BODY_MAX:
        value, harmless = redaction.json_value(body)
        if harmless:
            return value, "", orjson.Fragment(response), ""
    return *kept(body), *kept(response)


def kept_of_login(content: bytes) -> tuple[Any, str]:
    """Return what is kept of a log-in's body, and a remark, as `kept` does."""
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
        # The cut may have split a UTF-8 character.
        if not remark or error.start < KEPT_BODY_MAX - 4:
            return None, f"not kept: {size} bytes that are not text"
        text = content[: error.start].decode()
    if "\0" in text:
        return None, f"not kept: {size} bytes that are not text"
    return text, remark


def is_text(content_type: str) -> bool:
    """Tell whether responses of that media type are kept."""
    return content_type.startswith(_TEXT)


def bounded(text: str, most: int) -> str:
    """Cut a text to `most` characters and append a note when it was longer."""
    return text if len(text) <= most else text[:most] + " … (cut off)"
