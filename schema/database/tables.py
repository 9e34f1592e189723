"""The tables in SQLAlchemy Core. Migrations create them; a test holds the two together."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import mysql

from schema.lead.contacts import CONTACT_SIZE
from schema.lead.rules import EMAIL_MAX, NAME_MAX, PHONE_MAX
from schema.lead.source import KEY_PREFIX_LENGTH, SOURCE_NAME_MAX

# One collation everywhere: text sorts and compares by code point on SQLite, MySQL and MariaDB alike.
OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}

LEAD_ID = LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
DIGEST = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
CONTACT = LargeBinary(CONTACT_SIZE).with_variant(mysql.BINARY(CONTACT_SIZE), "mysql", "mariadb")
MOMENT = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")  # UTC, microseconds

metadata = MetaData()


def _documented(text: str, writer: str) -> dict[str, str]:
    """Return a table's entry in docs/storage.md: what it holds, and who writes it."""
    return {"doc": text, "writer": writer}


leads = Table(
    "leads",
    metadata,
    Column("id", LEAD_ID, primary_key=True),
    Column("first_name", String(NAME_MAX), nullable=False),
    Column("last_name", String(NAME_MAX), nullable=False),
    Column("email", String(EMAIL_MAX), nullable=False),
    Column("phone", String(PHONE_MAX), nullable=False),
    Column("date_of_birth", Date, nullable=False),
    # Text, because a JSON column would reorder keys and round numbers on MySQL.
    Column("additional_data", Text),
    Column("created_at", MOMENT, nullable=False),
    Column("updated_at", MOMENT, nullable=False),
    Column("source", String(SOURCE_NAME_MAX)),  # NULL: a user sent it
    Column("consent", Text),  # JSON; NULL: none was given
    Column("duplicate_of", LEAD_ID),  # the person's first lead; NULL: this is it, or nobody looked
    # Whether that is so, for an index that has duplicates in the order of their ids.
    Column("is_duplicate", Boolean, nullable=False, server_default="0"),
    # The order of storing: see schema.database.stored_positions. NULL: stored before there was one.
    Column("stored_slot", SmallInteger),
    Column("stored_position", BigInteger),
    # Each index ends in the id, so that equal values are ordered and a page can start after any row.
    Index("leads_first_name", "first_name", "id"),
    Index("leads_last_name", "last_name", "id"),
    Index("leads_email", "email", "id"),
    Index("leads_phone", "phone", "id"),
    Index("leads_source", "source", "id"),
    Index("leads_stored", "stored_slot", "stored_position", "id"),
    Index("leads_duplicate", "is_duplicate", "id"),
    Index("leads_source_duplicate", "source", "is_duplicate", "id"),
    sqlite_with_rowid=False,
    info=_documented(
        "The leads. The id is the primary key; eight indexes, to sort, filter and follow, end in it.",
        "workers",
    ),
    **OPTIONS,
)

# Stored leads by time bucket of their ids: see schema.counts.lookup.
lead_counts = Table(
    "lead_counts",
    metadata,
    Column("width", BigInteger, primary_key=True, autoincrement=False),  # microseconds
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # first microsecond since 1970
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("stored", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    info=_documented("Stored leads by time bucket of their ids (`schema/counts/lookup.py`).", "workers, with the rows"),
    **OPTIONS,
)

# The last position in each slot: see schema.database.stored_positions.
stored_positions = Table(
    "stored_positions",
    metadata,
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("last_position", BigInteger, nullable=False),  # microseconds since 1970, or more
    sqlite_with_rowid=False,
    info=_documented(
        "How far the order of storing has come in each slot (`schema/database/stored_positions.py`).",
        "workers, with the rows",
    ),
    **OPTIONS,
)

# Sums over all time: see schema.counts.totals. Several rows, so that workers do not wait for each other's COMMIT.
lead_totals = Table(
    "lead_totals",
    metadata,
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("total_stored", BigInteger, nullable=False),  # leads ever stored
    Column("expired", BigInteger, nullable=False),  # leads removed because they were older than the retention
    Column("revision", BigInteger, nullable=False),  # number of rebuilds of the counts
    # While a month is being removed: the first microsecond since 1970 that is kept; else 0.
    Column("retention_cutoff", BigInteger, nullable=False),
    Column("erased", BigInteger, nullable=False, server_default="0"),  # rows removed with their person
    sqlite_with_rowid=False,
    info=_documented("Sums over all time (`schema/counts/totals.py`).", "workers, with the rows"),
    **OPTIONS,
)

# Minutes that leads were added to since their counts were compacted: see schema.counts.maintain.
dirty_minutes = Table(
    "dirty_minutes",
    metadata,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),  # first microsecond since 1970
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("added", BigInteger, nullable=False),  # leads
    sqlite_with_rowid=False,
    info=_documented("Minutes to compact (`schema/counts/maintain.py`).", "workers, with the rows"),
    **OPTIONS,
)

# Accepted leads by time bucket, copied from Redis by the sweep so that they outlive it.
# A Redis that lost its data begins a new epoch; the numbers of all epochs add up.
accepted_counts = Table(
    "accepted_counts",
    metadata,
    Column("width", Integer, primary_key=True, autoincrement=False),  # seconds
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # first second since 1970
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("accepted", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    info=_documented("Accepted leads by time bucket, copied from Redis so that they outlive it.", "the sweep"),
    **OPTIONS,
)

# Stored leads of each source: see schema.counts.by_source.
source_counts = Table(
    "source_counts",
    metadata,
    Column("source", String(SOURCE_NAME_MAX), primary_key=True),
    Column("width", Integer, primary_key=True, autoincrement=False),  # seconds
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # first second since 1970
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("stored", BigInteger, nullable=False),
    Index("source_counts_bucket", "width", "bucket"),
    sqlite_with_rowid=False,
    info=_documented("Stored leads of each source by hour and day of their ids.", "workers, with the rows"),
    **OPTIONS,
)

# Stored leads that are duplicates, as source_counts has all of a source; those of all, users too, under the source "".
duplicate_counts = Table(
    "duplicate_counts",
    metadata,
    Column("source", String(SOURCE_NAME_MAX), primary_key=True),
    Column("width", Integer, primary_key=True, autoincrement=False),  # seconds
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # first second since 1970
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("stored", BigInteger, nullable=False),
    Index("duplicate_counts_bucket", "width", "bucket"),
    sqlite_with_rowid=False,
    info=_documented(
        "Stored duplicates of each source, and of all, by hour and day of their ids.", "workers, with the rows"
    ),
    **OPTIONS,
)

# Accepted leads of each source, as accepted_counts has those of all.
source_accepted_counts = Table(
    "source_accepted_counts",
    metadata,
    Column("source", String(SOURCE_NAME_MAX), primary_key=True),
    Column("width", Integer, primary_key=True, autoincrement=False),  # seconds
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # first second since 1970
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("accepted", BigInteger, nullable=False),
    Index("source_accepted_counts_bucket", "width", "bucket"),
    sqlite_with_rowid=False,
    info=_documented("Accepted leads of each source, copied from Redis so that they outlive it.", "the sweep"),
    **OPTIONS,
)

# The idempotency keys of stored leads, for when Redis has lost its data: see schema.database.idempotency.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", DIGEST, primary_key=True),  # SHA-256 of user and key
    Column("digest", DIGEST, nullable=False),  # SHA-256 of the lead's fields
    Column("lead_id", LEAD_ID, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Index("idempotency_keys_created_at", "created_at"),
    sqlite_with_rowid=False,
    info=_documented("The keys of stored leads, for when Redis has lost its data.", "workers, with the rows"),
    **OPTIONS,
)

# The first lead of each address and number, for when Redis has lost its data: see schema.database.first_leads.
first_leads = Table(
    "first_leads",
    metadata,
    Column("contact", CONTACT, primary_key=True),  # schema.lead.contacts
    Column("lead_id", LEAD_ID, nullable=False),
    sqlite_with_rowid=False,
    info=_documented(
        "The first lead of each address and number, as hashes, for when Redis has lost its data. "
        "Kept for `LEADS_DUPLICATE_DAYS`.",
        "workers, with the rows",
    ),
    **OPTIONS,
)

# Ids of dead letters that an operator deleted; their content is not kept.
dropped_leads = Table(
    "dropped_leads",
    metadata,
    Column("lead_id", LEAD_ID, primary_key=True),
    Column("dropped_at", MOMENT, nullable=False),
    sqlite_with_rowid=False,
    info=_documented("Ids of dead letters that an operator deleted; what was in them is not kept.", "the command line"),
    **OPTIONS,
)

# Who did what: see schema.audit.
audit_trail = Table(
    "audit_trail",
    metadata,
    Column("id", LEAD_ID, primary_key=True),  # a UUIDv7 made with the event, so that an event is stored once
    Column("at", MOMENT, nullable=False),
    Column("action", String(32), nullable=False),
    Column("user", String(64), nullable=False),  # who did it; empty: nobody who is known
    Column("client", String(64), nullable=False),  # IP address; empty: the command line
    Column("parameters", String(255), nullable=False),  # names alone, comma-separated, sorted
    Column("row_count", BigInteger),  # leads, dead letters or requests that it was about; NULL: not known
    Column("subject", String(64), nullable=False),  # id of the user, lead, dead letter or key that it was about
    Column("request_id", String(128), nullable=False),
    Index("audit_trail_at", "at"),
    Index("audit_trail_user", "user", "at"),
    sqlite_with_rowid=False,
    info=_documented(
        "The audit trail: who did what, without a value of a lead. Kept for `LEADS_AUDIT_DAYS`.",
        "the sweep, from Redis; the command line",
    ),
    **OPTIONS,
)

# Ids of erased leads, wherever they were: see schema.person.
erased_leads = Table(
    "erased_leads",
    metadata,
    Column("lead_id", LEAD_ID, primary_key=True),
    Column("erased_at", MOMENT, nullable=False),
    sqlite_with_rowid=False,
    info=_documented(
        "Ids of leads that were erased with their person, or never stored because the person is kept out.",
        "`python -m schema person erase`; workers",
    ),
    **OPTIONS,
)

# Addresses and numbers that are kept out: see schema.person.kept_out.
kept_out = Table(
    "kept_out",
    metadata,
    Column("hash", DIGEST, primary_key=True),
    Column("added_at", MOMENT, nullable=False),
    sqlite_with_rowid=False,
    info=_documented(
        "Addresses and numbers whose leads are not stored, as HMAC-SHA256 with the salt.",
        "`python -m schema person erase --keep-out`",
    ),
    **OPTIONS,
)

kept_out_salt = Table(
    "kept_out_salt",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),  # always 1
    Column("salt", DIGEST, nullable=False),
    sqlite_with_rowid=False,
    info=_documented("The random salt of `kept_out`.", "the first `person erase --keep-out`"),
    **OPTIONS,
)

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("email", String(EMAIL_MAX), nullable=False, unique=True),  # in lower case
    Column("password_hash", String(255), nullable=False),
    Column("roles", String(255), nullable=False),  # comma-separated, sorted
    Column("disabled", Boolean, nullable=False),
    # Raised by each change that ends the user's tokens. The default is for release 0.1, which does not know it.
    Column("token_version", Integer, nullable=False, server_default="0"),
    Column("created_at", MOMENT, nullable=False),
    Column("updated_at", MOMENT, nullable=False),
    info=_documented("Who may log in, with argon2 hashes.", "the command line; the first one at the start"),
    **OPTIONS,
)

# Who sends leads with an API key: see ingest_api.auth.sources.
sources = Table(
    "sources",
    metadata,
    Column("name", String(SOURCE_NAME_MAX), primary_key=True),
    Column("roles", String(255), nullable=False),  # comma-separated, sorted
    Column("rate", Integer, nullable=False),  # leads a minute; 0: no limit
    Column("daily_cap", BigInteger, nullable=False),  # leads a day, UTC; 0: no limit
    Column("disabled", Boolean, nullable=False),
    Column("duplicate_days", Integer),  # 0: its leads are no duplicates; NULL: LEADS_DUPLICATE_DAYS
    Column("refuses_duplicates", Boolean, nullable=False, server_default="0"),
    Column("created_at", MOMENT, nullable=False),
    Column("updated_at", MOMENT, nullable=False),
    Column("additional_data_schema", Text),  # JSON; NULL: any additionalData
    sqlite_with_rowid=False,
    info=_documented("The sources: who sends leads with an API key, and how many.", "the command line"),
    **OPTIONS,
)

source_keys = Table(
    "source_keys",
    metadata,
    Column("prefix", String(KEY_PREFIX_LENGTH), primary_key=True),  # the part of the key that names it
    Column("source", String(SOURCE_NAME_MAX), nullable=False),
    Column("hash", DIGEST, nullable=False),  # SHA-256 of the whole key, which is random
    Column("created_at", MOMENT, nullable=False),
    Column("expires_at", MOMENT),  # NULL: never
    Index("source_keys_source", "source"),
    sqlite_with_rowid=False,
    info=_documented("The sources' API keys, as SHA-256; two of a source while one is changed.", "the command line"),
    **OPTIONS,
)
