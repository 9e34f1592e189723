"""The confirmation of a replica: a batch leaves the queue only when the replica has its rows (LEADS_DATABASE_REPLICAS).

Replication is asynchronous: when a primary is lost and its replica promoted, the last commits are gone. What is still
in the queue is stored again.
"""

import time

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from schema.counts import totals

# First and longest interval (seconds) between two looks at the replica; each is twice the one before.
FIRST_LOOK_INTERVAL = 0.002
LOOK_INTERVAL_MAX = 0.05


class ReplicaBehind(Exception):
    """The replica does not have what the primary has committed, or does not answer."""


class ReplicaConfirmation:
    """Waits for the replica. Make it after the fork."""

    def __init__(self, replica: Engine, timeout: float) -> None:
        """Take a reader's engine of the replica, and the longest wait in seconds."""
        self._replica = replica
        self._timeout = timeout

    def wait(self, primary: Connection) -> None:
        """Block until the replica has all that the primary has committed by now. `primary` has no open transaction.

        Raises ReplicaBehind after the timeout, and SQLAlchemyError when the primary does not answer.
        """
        with primary.begin():
            committed = totals.version(primary).progress
        deadline = time.monotonic() + self._timeout
        pause = FIRST_LOOK_INTERVAL
        while self._progress() < committed:
            if time.monotonic() > deadline:
                raise ReplicaBehind("the replica is behind or away")
            time.sleep(pause)
            pause = min(2 * pause, LOOK_INTERVAL_MAX)

    def _progress(self) -> int:
        """Return the replica's progress; -1 when it does not answer."""
        try:
            with self._replica.connect() as connection:
                return totals.version(connection).progress
        except SQLAlchemyError:
            return -1
