"""Names of the counts of refused leads by time bucket. They are in Redis alone, and no part of the ledger."""

from schema.counts.widths import DAY, HOUR, MINUTE
from schema.queue.keys import REFUSED_PREFIX

# Seconds that a count stays after its bucket began: the longest range that statistics can be asked for.
REFUSED_TTL = {MINUTE: 26 * HOUR, HOUR: 63 * DAY, DAY: 1501 * DAY}


def name_of(width: int, second: int) -> str:
    """Return the key that counts the bucket of `width` seconds in which `second`, since 1970, is."""
    return f"{REFUSED_PREFIX}{width}:{second - second % width}"
