"""The widths of the buckets, and the bounds by which they are made."""

DAY, HOUR, MINUTE, SECOND = 86400, 3600, 60, 1  # seconds

# The widths as the table has them, in microseconds.
MICROS = 1_000_000
SPAN = 32 * DAY * MICROS
MINUTES = MINUTE * MICROS
CENTISECOND = 10_000
TENTH_MS = 100
WIDTHS = (SPAN, DAY * MICROS, HOUR * MICROS, MINUTES, SECOND * MICROS, CENTISECOND, TENTH_MS)

# Rows of each bucket: workers that store at the same moment add to different ones.
SLOTS = 8

# Leads in a bucket that are found by a short OFFSET: no narrower buckets are needed.
LEAF_SIZE = 200

# Smallest number of leads that a batch adds to a bucket before it also writes the next finer level. Batches within two
# buckets always do, since their neighbours may fill the same bucket.
MIN_PER_LEVEL = 30

# The same for the finest level, which is for what is really dense.
FINE_LEVEL_MIN = 100

END = 1 << 62  # microseconds since 1970, later than any id's time


def first_of(micros: int, width: int) -> int:
    """Return the first microsecond of the bucket of that width that a moment is in."""
    return micros - micros % width
