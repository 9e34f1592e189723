"""The brake on dead letters: when too many leads fail for one reason, the fault is not theirs.

A wrong migration, a worker of another release or a server that refuses everything would dead-letter good leads by the
thousand. Instead storing stops, the leads stay in the queue, and an alert fires.
"""

from collections import Counter
from collections.abc import Collection

# Fewest failing leads of a batch whose share counts: in a small batch one lead is a large share.
SHARE_MIN = 10


class DeadLetterLimitReached(Exception):
    """Too many leads would become dead letters for one reason. The message names the reason, but quotes no lead."""


class DeadLetterLimit:
    """Bounds the leads dead-lettered for one reason, by their share of a batch and by their number in a row.

    Use one for each Storing; it keeps the number in a row over batches.
    """

    def __init__(self, max_share: float, max_in_a_row: int) -> None:
        """Take a share of a batch, 0 to 1 (1: no bound), and a number of leads (0: no bound)."""
        self._max_share = max_share
        self._max_in_a_row = max_in_a_row
        self._reason = ""
        self._in_a_row = 0

    def check(self, reasons: Collection[str], leads: int) -> None:
        """Check whether leads of a batch of `leads` may become dead letters; `reasons` has one reason for each.

        Raises DeadLetterLimitReached when they may not.
        """
        for reason, number in Counter(reasons).items():
            in_a_row = number + (self._in_a_row if reason == self._reason else 0)
            if number >= SHARE_MIN and number > self._max_share * leads:
                raise DeadLetterLimitReached(f"{number} of {leads} leads of a batch: {reason}")
            # A batch with other leads interrupts the row.
            if self._max_in_a_row and in_a_row > self._max_in_a_row and number == leads:
                raise DeadLetterLimitReached(f"{in_a_row} leads in a row: {reason}")

    def record(self, reasons: Collection[str], leads: int) -> None:
        """Record a batch of `leads` in which one lead for each of `reasons` became a dead letter."""
        if len(reasons) < leads or len(set(reasons)) > 1:
            self._reason, self._in_a_row = "", 0
        elif reasons:
            reason = next(iter(reasons))
            self._in_a_row = len(reasons) + (self._in_a_row if reason == self._reason else 0)
            self._reason = reason
