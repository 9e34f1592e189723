"""The brake on dead letters: many leads that fail alike are not at fault, and none of them is dead-lettered.

A migration that is missing, a worker of another release or a server that refuses everything rejects good leads by the
thousand. Storing stops then, the leads stay in the queue, and an alert says so.
"""

from collections import Counter
from collections.abc import Collection

# Fewest leads of one batch whose share is looked at: of two leads one is half.
SHARE_MIN = 10


class DeadLetterLimitReached(Exception):
    """Too many leads would become dead letters for one reason. The message names it and quotes no lead."""


class DeadLetterLimit:
    """Bounds the leads that are dead-lettered for one reason, by their share of a batch and by their number in a row.

    One for each process that stores; it remembers what became of the batches before.
    """

    def __init__(self, max_share: float, max_in_a_row: int) -> None:
        """Take a share of a batch, 0 to 1 (1: no bound), and a number of leads (0: no bound)."""
        self._max_share = max_share
        self._max_in_a_row = max_in_a_row
        self._reason = ""
        self._in_a_row = 0

    def check(self, reasons: Collection[str], leads: int) -> None:
        """Take why each of some leads of a batch of `leads` is rejected.

        Raises DeadLetterLimitReached when these must not become dead letters.
        """
        for reason, number in Counter(reasons).items():
            in_a_row = number + (self._in_a_row if reason == self._reason else 0)
            if number >= SHARE_MIN and number > self._max_share * leads:
                raise DeadLetterLimitReached(f"{number} of {leads} leads of a batch: {reason}")
            # Those of a batch that has good leads, too, are not in a row.
            if self._max_in_a_row and in_a_row > self._max_in_a_row and number == leads:
                raise DeadLetterLimitReached(f"{in_a_row} leads in a row: {reason}")

    def record(self, reasons: Collection[str], leads: int) -> None:
        """Note a batch of `leads` of which those with `reasons` became dead letters."""
        if len(reasons) < leads or len(set(reasons)) > 1:
            self._reason, self._in_a_row = "", 0
        elif reasons:
            reason = next(iter(reasons))
            self._in_a_row = len(reasons) + (self._in_a_row if reason == self._reason else 0)
            self._reason = reason
