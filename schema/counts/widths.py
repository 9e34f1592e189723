"""The widths of the buckets, and the bounds that decide which are written."""

DAY, HOUR, MINUTE, SECOND = 86400, 3600, 60, 1  # seconds

# The widths in the table, microseconds.
MICROS = 1_000_000
SPAN = 32 * DAY * MICROS
MINUTES = MINUTE * MICROS
CENTISECOND = 10_000
TENTH_MS = 100
WIDTHS = (SPAN, DAY * MICROS, HOUR * MICROS, MINUTES, SECOND * MICROS, CENTISECOND, TENTH_MS)

# Most rows of a bucket: processes that store at the same moment add to different ones (workers/store/slot_lease.py).
# More processes than that wait for each other's COMMIT.
SLOTS = 64

# Most leads in a bucket in which a short OFFSET finds any lead, so that it needs no finer buckets.
LEAF_SIZE = 200

# Fewest leads that a batch must add to a bucket to also write the next finer level. A batch within two buckets always
# does, because other batches may fill the same buckets.
MIN_PER_LEVEL = 30

# The same for the finest level.
FINE_LEVEL_MIN = 100

# The latest time that an id can hold, microseconds since 1970.
LAST_MICROS = ((1 << 48) - 1) * 1000

END = 1 << 62  # microseconds since 1970, later than any id's time


def first_of(micros: int, width: int) -> int:
    """Return the first microsecond of the bucket of `width` that contains `micros` (since 1970)."""
    return micros - micros % width
