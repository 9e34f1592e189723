"""Every name in Redis: keys, the consumer group, and the fields of entries and hashes.

Python code and Lua scripts (schema.queue.script) use these constants. docs/storage.md is made from DOCUMENTED.
"""

# Keys. A prefix ends in ":"; DOCUMENTED shows the rest of such a key.
STREAM = "leads:stream"
DEAD = "leads:dead"
INDEX = "leads:index"
ACCEPTED = "leads:accepted"
SOURCES_ACCEPTED = "leads:accepted:sources"
REFUSED_PREFIX = "leads:refused:"
STORING_DELAY = "leads:storing:delay"
STORING_PROBLEM = "leads:storing:problem"
STATUS = "leads:status"
SOURCE_RATE_PREFIX = "leads:source:"
FIRST_LEADS_PREFIX = "leads:first:"
# Bits of a contact that choose its hash among those of a period: at a million leads a day a hash has 40 contacts, and
# looking for one takes a microsecond (docs/adr/0019-first-leads-in-small-hashes.md).
FIRST_LEADS_BITS = 18
FIRST_LEADS_SINCE = "leads:first:since"
RATE_PREFIX = "leads:rate:"
LOGIN_FAILURES_PREFIX = "leads:login:failures:"
LOGIN_KNOWN_PREFIX = "leads:login:known:"
BULK_RATE_PREFIX = "leads:bulk:"
IDEMPOTENCY_PREFIX = "leads:key:"
REQUESTS = "leads:requests"
REQUESTS_HELD = f"{REQUESTS}:held"
REQUEST_ERRORS = f"{REQUESTS}:errors"
REQUEST_ERRORS_HELD = f"{REQUEST_ERRORS}:held"
AUDIT = "leads:audit"
SLOT_PREFIX = "leads:slot:"
FENCE = "leads:fence"
FENCE_TTL = 1_000_000_000  # seconds: for ever
COPIED = "leads:copied"
PROBE_PREFIX = "leads:probe:"  # prepended, with an id, to other keys

# Celery's queues; kombu keeps each in a list of the same name. Beat's messages have a queue of their own, so that the
# length of TICKETS is the number of tickets.
TICKETS = "leads:tickets"
SWEEPS = "leads:sweeps"

# The consumer group of STREAM.
GROUP = "workers"

# Fields of an entry of STREAM and DEAD: the lead as encoded by schema.lead.codec; with an Idempotency-Key its hash and
# the SHA-256 of the fields; of a traced request the trace context; for a dead letter also the reason.
LEAD_FIELD = "lead"
KEY_FIELD = "key"
DIGEST_FIELD = "digest"
TRACE_FIELD = "trace"
REASON_FIELD = "reason"

# Further fields of an entry while duplicates are looked for: of which contacts its lead is the first, EMAIL_MARK or
# PHONE_MARK or both; and within how many days there may be a first lead that Redis does not know.
FIRST_OF_FIELD = "first"
LOOK_FIELD = "look"
EMAIL_MARK = "e"
PHONE_MARK = "p"

# The field of an entry of AUDIT: an event as encoded by schema.audit.event.
EVENT_FIELD = "event"

# Prefix of the entry's name in INDEX when the lead is a dead letter.
DEAD_PREFIX = "dead:"

# Fields of ACCEPTED beside the buckets: the start of the epoch (microseconds by Redis's clock), and whether it is known
# that there was no earlier epoch, so that Redis has never lost its data.
EPOCH_FIELD = "epoch"
FIRST_FIELD = "first"

# What a field of SOURCES_ACCEPTED begins with that holds the leads of a day in the queue that was moved here.
MOVED_MARK = "moved:"


def source_name(source: str) -> str:
    """Return the name whose shard (schema.settings.shards.home_of) has the leads of a source."""
    return SOURCE_RATE_PREFIX + source


def first_leads_name(contact: bytes, period: str) -> str:
    """Return the hash that has a contact's first lead of a period, under the field `contact[2:]`.

    `period` is `<days>:<first day>`: how many days are remembered, and the period's first one in days since 1970.
    append.lua says how long a period is.
    """
    return f"{FIRST_LEADS_PREFIX}{period}:{int.from_bytes(contact[:3]) >> 24 - FIRST_LEADS_BITS}"


# Key, type, content, writer.
DOCUMENTED = (
    (
        STREAM,
        "stream",
        "The accepted leads that are not stored yet. An entry leaves when its row is committed.",
        "the API appends, workers remove; a replay appends",
    ),
    (
        DEAD,
        "stream",
        "The dead letters: leads that cannot be stored, each with its reason. No expiry.",
        "workers; replay and drop remove",
    ),
    (
        INDEX,
        "hash",
        f"Lead id (16 bytes) to where it waits: `<entry>`, or `{DEAD_PREFIX}<entry>` for a dead letter.",
        "whoever writes the entry, in the same step",
    ),
    (
        ACCEPTED,
        "hash",
        "`<width>:<first second>` to the leads accepted in that bucket; "
        f"`{EPOCH_FIELD}` says since when, `{FIRST_FIELD}` that no epoch came before.",
        "the API, in the append",
    ),
    (
        SOURCES_ACCEPTED,
        "hash",
        "`<width>:<first second>:<source>` to the leads accepted of a source in that bucket, its daily cap among them; "
        f"behind `{MOVED_MARK}` those of the queue that was moved here.",
        "the API, in the append",
    ),
    (
        f"{REFUSED_PREFIX}<width>:<first second>",
        "string",
        "Leads refused in that bucket, for the statistics; expires with the longest range that they can be asked for.",
        "the API, each second",
    ),
    (
        STORING_DELAY,
        "string",
        "`<milliseconds>:<when>`: from the append of the last batch's first lead to its acknowledgement; 15 minutes.",
        "workers, as they acknowledge",
    ),
    (
        STORING_PROBLEM,
        "string",
        "Why the last batch was not stored, without a word of a lead; until one is, or for two minutes.",
        "workers",
    ),
    (STATUS, "string", "What one API process read for `/api/status`, for the others; two seconds.", "the API"),
    (
        f"{SOURCE_RATE_PREFIX}<name>",
        "string",
        "Leads accepted of a source with a rate in this minute, by Redis's clock; expires with it.",
        "the API, in the append",
    ),
    (
        f"{FIRST_LEADS_PREFIX}<days>:<day>:<number>",
        "hash",
        "Hash of an address or number, whose first bits are `number`, to the id of its first lead in half of "
        "`days` from that day on; expires `days` after them. `days` are `LEADS_DUPLICATE_REDIS_DAYS`.",
        "the API, in the append",
    ),
    (
        FIRST_LEADS_SINCE,
        "string",
        "`<second since 1970>:<days>`: since when first leads are remembered without a gap, and how long each.",
        "the API, in the append",
    ),
    (
        f"{RATE_PREFIX}<ip>",
        "string",
        "Requests of a client in its rate-limit window; expires with it.",
        "the API",
    ),
    (
        f"{LOGIN_FAILURES_PREFIX}<hmac>",
        "string",
        "Failed log-ins of an account, from an address, or of an account from where it is known; "
        "expires 15 minutes after the next one is allowed.",
        "the API",
    ),
    (
        f"{LOGIN_KNOWN_PREFIX}<hmac>",
        "string",
        "An account that logged in from an address; expires 30 days after the last time.",
        "the API",
    ),
    (
        f"{BULK_RATE_PREFIX}<sha-256>",
        "string",
        "Leads that a user, by the hash of its name, sent in bulk in its window; expires with it.",
        "the API, in the append",
    ),
    (
        f"{IDEMPOTENCY_PREFIX}<sha-256>",
        "string",
        "Lead id and SHA-256 of the validated fields that an Idempotency-Key came with, and which were duplicates. "
        "TTL: `LEADS_IDEMPOTENCY_TTL`.",
        "the API, in the append",
    ),
    (
        REQUESTS,
        "list",
        "The request log, the oldest page first, redacted and masked.",
        "the API, five times a second; the sweep removes old pages",
    ),
    (REQUESTS_HELD, "string", f"How many requests the pages of `{REQUESTS}` hold.", "the API"),
    (REQUEST_ERRORS, "list", "Of the request log those that were answered with 400 or more.", "as above"),
    (REQUEST_ERRORS_HELD, "string", f"How many requests the pages of `{REQUEST_ERRORS}` hold.", "the API"),
    (
        AUDIT,
        "stream",
        "Events of the audit trail on their way to the table `audit_trail`: who read what, nothing of a lead.",
        "the API and the command line append; the sweep removes",
    ),
    (TICKETS, "list", "Celery's queue of tickets.", "the API; workers remove"),
    (SWEEPS, "list", "Celery's queue of what beat sends.", "beat; workers remove"),
    (
        f"{SLOT_PREFIX}<number>",
        "string",
        "The pool process that adds to this slot of the counts (`workers/store/slot_lease.py`). TTL: a minute.",
        "workers",
    ),
    (
        FENCE,
        "string",
        "Set while the queue moves to another number of shards or server: nothing is appended.",
        "reshard",
    ),
    (COPIED, "string", "When the sweep last copied the counts of accepted leads. Only with replicas.", "the sweep"),
    (
        f"{PROBE_PREFIX}<id>:*",
        "stream, hash",
        "What `serve` appends before it takes traffic. Deleted at once.",
        "the API, at its start",
    ),
)
