"""The widths of the buckets, and what stands in the place of a width."""

DAY, HOUR, MINUTE, SECOND = 86400, 3600, 60, 1  # seconds

# The widths as the table has them, in microseconds.
MICROS = 1_000_000
SPAN = 32 * DAY * MICROS
MINUTES = MINUTE * MICROS
CENTISECOND = 10_000
FINEST = 100
WIDTHS = (SPAN, DAY * MICROS, HOUR * MICROS, MINUTES, SECOND * MICROS, CENTISECOND, FINEST)

# Rows that are no bucket have these in the place of a width.
MARK = -1  # a minute that leads were added to since it was put in order: see schema.counts.recount
LEDGER = 0  # sums over all time, with one of the following in the place of the first microsecond
EVER, EXPIRED, REVISION, HORIZON = range(4)

SLOTS = 8

# Leads in a bucket that are found by a short OFFSET: no narrower buckets are needed.
LEAF = 200

# Leads of one batch in a bucket from which it counts in the narrower ones too: fewer do not make it more than a leaf.
# A batch within two buckets may be one of many, and always does. The narrowest ones are for what is really dense.
USEFUL = 30
DENSE = 100

END = 1 << 62  # microseconds since 1970, later than any id's time


def first_of(micros: int, width: int) -> int:
    """Return the first microsecond of the bucket of that width that a moment is in."""
    return micros - micros % width
