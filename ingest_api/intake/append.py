"""The append: what a request asks of append.lua, and what became of it."""

import enum
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from schema.counts.by_source import SOURCE_WIDTHS
from schema.counts.widths import DAY, MINUTE
from schema.lead import lead_id
from schema.lead.contacts import CONTACT_SIZE
from schema.lead.lead_id import LeadId
from schema.lead.source import SourceLimits
from schema.queue import accepted_counts
from schema.queue.keys import (
    ACCEPTED,
    BULK_RATE_PREFIX,
    DIGEST_FIELD,
    EMAIL_MARK,
    EPOCH_FIELD,
    FENCE,
    FENCE_TTL,
    FIRST_FIELD,
    FIRST_LEADS_BITS,
    FIRST_LEADS_PREFIX,
    FIRST_LEADS_SINCE,
    FIRST_OF_FIELD,
    IDEMPOTENCY_PREFIX,
    INDEX,
    KEY_FIELD,
    LEAD_FIELD,
    LOOK_FIELD,
    MOVED_MARK,
    PHONE_MARK,
    SOURCE_RATE_PREFIX,
    SOURCES_ACCEPTED,
    STREAM,
    TICKETS,
    TRACE_FIELD,
)
from schema.queue.script import Script, Value
from schema.settings.shards import WHOLE, Shard

if TYPE_CHECKING:
    from schema.runtime.tracing import RequestSpan

RESULT_FIELDS = 8  # for each request in the script's answer

# In place of an id: a contact that no lead came with before.
NO_LEAD = b"-" * 16


class Verdict(enum.IntEnum):
    """What append.lua did with a request. The script gets these numbers as constants."""

    APPENDED = 0
    RATE_LIMITED = 1
    FULL = 2
    DUPLICATE = 3
    CONFLICT = 4
    KEY_UNVERIFIED = 5  # Redis may have lost the key: ask the database, then submit again
    MOVED = 6  # the queue is elsewhere now: submit there
    SOURCE_RATE = 7
    SOURCE_CAP = 8
    SEEN_BEFORE = 9  # nothing was appended: all its leads are duplicates, and refused


_VERDICTS = tuple(Verdict)  # by number; a look-up here is faster than Verdict(number)

# Length of the ids of a lead's contacts in AppendResult.firsts.
FIRSTS_SIZE = 2 * len(NO_LEAD)


def append_script(shard: Shard = WHOLE, prefix: str = "", *, has_tickets: bool = True) -> Script:
    """Make the append script of a shard. With `prefix` it writes to separate keys, for the probe.

    Where the tickets are elsewhere, they cannot be counted; then their key is one that does not exist.
    """
    return Script(
        Path(__file__).parent / "append.lua",
        keys={
            "STREAM": shard.name(prefix + STREAM),
            "INDEX": shard.name(prefix + INDEX),
            "ACCEPTED": shard.name(prefix + ACCEPTED),
            "SOURCES_ACCEPTED": shard.name(prefix + SOURCES_ACCEPTED),
            "TICKETS": TICKETS if has_tickets else shard.name(prefix + TICKETS),
            "FENCE": shard.name(prefix + FENCE),
            "FIRST_LEADS_SINCE": shard.name(prefix + FIRST_LEADS_SINCE),
        },
        arguments=(
            "queue_max",
            "rate_limit",
            "bulk_limit",
            "rate_window",
            "key_ttl",
            "duplicate_days",
            "duplicate_redis_days",
            "requests",
        ),
        constants={
            **{verdict.name: int(verdict) for verdict in Verdict},
            "LEAD_FIELD": LEAD_FIELD,
            "KEY_FIELD": KEY_FIELD,
            "DIGEST_FIELD": DIGEST_FIELD,
            "TRACE_FIELD": TRACE_FIELD,
            "EPOCH_FIELD": EPOCH_FIELD,
            "FIRST_FIELD": FIRST_FIELD,
            "FIRST_OF_FIELD": FIRST_OF_FIELD,
            "LOOK_FIELD": LOOK_FIELD,
            "EMAIL_MARK": EMAIL_MARK,
            "PHONE_MARK": PHONE_MARK,
            "FIRST_LEADS_PREFIX": shard.name(prefix + FIRST_LEADS_PREFIX),
            "CONTACT_SIZE": CONTACT_SIZE,
            "FIRST_LEADS_BITS": FIRST_LEADS_BITS,
            "NO_LEAD": NO_LEAD.decode(),
            "IDEMPOTENCY_PREFIX": shard.name(IDEMPOTENCY_PREFIX),
            "BULK_RATE_PREFIX": shard.name(BULK_RATE_PREFIX),
            "SOURCE_RATE_PREFIX": shard.name(prefix + SOURCE_RATE_PREFIX),
            "ACCEPTED_WIDTHS": accepted_counts.ACCEPTED_WIDTHS,
            "SOURCE_WIDTHS": SOURCE_WIDTHS,
            "MOVED_MARK": MOVED_MARK,
            "DAY": DAY,
            "MINUTE": MINUTE,
            "SHARD": shard.number,
            "FENCE_TTL": FENCE_TTL,
        },
    )


class NewLead(NamedTuple):
    """A lead to append: its id and its JSON."""

    id: LeadId
    payload: bytes
    # Of schema.lead.contacts, the address's and the number's; then, when the queue was moved, their part of `firsts` as
    # the queue before has said. Empty: duplicates are not looked for.
    contacts: bytes = b""


class AppendRequest(NamedTuple):
    """What one HTTP request asks of a flush: count it, and append its leads, all or none."""

    rate_key: str = ""  # without a shard's tag; empty: not limited; BULK_RATE_PREFIX has a limit of its own
    leads: tuple[NewLead, ...] = ()
    key: str = ""  # Redis key of the idempotency record, without a shard's tag; empty: none
    digest: bytes = b""  # SHA-256 of the lead's fields
    key_absent_in_database: bool = False  # True once the database was asked and does not have the key
    cost: int = 1  # what it adds under `rate_key`; 0 only asks whether the limit is used up
    source: SourceLimits | None = None  # None: a user sends the leads
    source_used_elsewhere: int = 0  # leads of the source's day in the queue that was moved here, as that queue has said
    duplicate_days: int = 0  # within which a lead with the same address or number is a duplicate; 0: none is
    refuses_duplicates: bool = False
    span: "RequestSpan | None" = None  # of the request, when it is traced


class AppendResult(NamedTuple):
    """What became of an AppendRequest."""

    verdict: Verdict
    used: int  # under `rate_key` in its window, this request included; 0 when not limited
    window_left: int  # milliseconds
    id: LeadId  # the lead's, when its key was used before; else empty
    source_used: int = 0  # of the source's rate or cap, when the verdict is about it; of its cap here, when MOVED
    source_until: int = 0  # seconds since 1970: when that rate or cap begins anew
    # FIRSTS_SIZE bytes for each lead: the first leads with its address and with its number, or NO_LEAD; empty when no
    # lead is a duplicate.
    firsts: bytes = b""
    refuses: int = 0  # 1: those duplicates were refused. With a key that was used before both are as they were then


def handed_on(request: AppendRequest, result: AppendResult) -> AppendRequest:
    """Return a request for the next queue, with what the one that it was moved from has said of it: MOVED."""
    request = request._replace(source_used_elsewhere=result.source_used)
    if not result.firsts:
        return request
    parts = (result.firsts[at : at + FIRSTS_SIZE] for at in range(0, len(result.firsts), FIRSTS_SIZE))
    pairs = zip(request.leads, parts, strict=True)
    return request._replace(leads=tuple(lead._replace(contacts=lead.contacts + part) for lead, part in pairs))


class Appender(Protocol):
    """Where requests are submitted: the group commit of a shard, or the router over all of them."""

    async def submit(self, request: AppendRequest) -> AppendResult:
        """Put a request into the next flush and wait for its result. Raises QueueUnavailable."""


_NO_SOURCE = SourceLimits("")


def arguments_of(requests: Iterable[AppendRequest], shard: Shard = WHOLE) -> Iterator[Value]:
    """Yield the script's arguments for the requests, in its order."""
    for request in requests:
        rate_key, key = request.rate_key, request.key
        if shard.tag:
            rate_key, key = (each and shard.name(each) for each in (rate_key, key))
        yield from (rate_key, request.cost, key, request.digest)
        trace = "" if request.span is None else request.span.carrier
        yield from (request.source or _NO_SOURCE)[:3]
        yield from (request.source_used_elsewhere, request.duplicate_days, int(request.refuses_duplicates))
        yield from (int(request.key_absent_in_database), trace, len(request.leads))
        for lead in request.leads:
            second = lead_id.micros_of(lead.id) // 1_000_000
            yield from (lead.id, second - second % 60, lead.payload, lead.contacts)


def duplicates_of(result: AppendResult, number: int) -> list[LeadId | None]:
    """Return for each of a request's leads the first lead that it is a duplicate of, or None."""
    if not result.firsts:
        return [None] * number
    size = len(NO_LEAD)
    ids = [result.firsts[at : at + size] for at in range(0, len(result.firsts), size)]
    pairs = zip(ids[::2], ids[1::2], strict=True)
    return [min((each for each in pair if each != NO_LEAD), default=None) for pair in pairs]


def refused_in(request: AppendRequest, result: AppendResult) -> int:
    """Return how many leads of a request were not appended because they are duplicates."""
    if not result.refuses or not result.firsts:
        return 0
    return sum(each is not None for each in duplicates_of(result, len(request.leads)))


def results_of(answer: list[Any]) -> Iterator[AppendResult]:
    """Yield what became of each request, in their order."""
    numbers = iter(answer[2:])
    for verdict, *rest in zip(*[numbers] * RESULT_FIELDS, strict=True):
        yield AppendResult(_VERDICTS[verdict], *rest)
