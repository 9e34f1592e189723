"""Takes single leads out of the counts, in the transaction that deletes their rows."""

from collections import Counter
from collections.abc import Collection

from sqlalchemy import Connection, delete

from schema.counts import by_source, totals, write
from schema.counts.by_source import CountedLead
from schema.counts.widths import MINUTES, WIDTHS, first_of
from schema.database.tables import lead_counts
from schema.lead import lead_id
from schema.lead.lead_id import LeadId


def lock(connection: Connection, ids: Collection[LeadId]) -> None:
    """Block all writers of leads until the open transaction ends, and mark the minutes of `ids` for compaction."""
    # In the order in which writers lock the tables.
    for minute in sorted({first_of(each, MINUTES) for each in lead_id.micros_of_all(ids)}):
        write.lock_minute(connection, minute)
    totals.lock(connection)


def subtract_erased(connection: Connection, gone: Collection[CountedLead]) -> None:
    """Subtract the leads of deleted rows in their open transaction. Call `lock` first.

    Buckets below their minutes go: they may be missing, and which of them counted a lead is not known. Compaction
    makes those of busy minutes anew; until then such a minute is searched with OFFSET.
    """
    moments = lead_id.micros_of_all([each.id for each in gone])
    if not moments:
        return
    totals.add(connection, erased=len(moments))
    wide = [width for width in WIDTHS if width >= MINUTES]
    numbers = Counter((width, first_of(each, width)) for each in moments for width in wide)
    write.upsert(connection, {key: -number for key, number in numbers.items()})
    for minute in sorted({first_of(each, MINUTES) for each in moments}):
        connection.execute(
            delete(lead_counts).where(
                # Above 0: what release 0.1 kept under other widths is no bucket.
                lead_counts.c.width.in_([width for width in WIDTHS if width < MINUTES]),
                lead_counts.c.bucket >= minute,
                lead_counts.c.bucket < minute + MINUTES,
            )
        )
    for counts in by_source.KINDS:
        counts.subtract(connection, gone)
