"""The confirmation of a replica: a batch leaves the queue only when the replica has its rows (LEADS_DATABASE_REPLICAS).

Replication is asynchronous: when a primary is lost and its replica promoted, the last commits are gone. What is still
in the queue is stored again.
"""

import time
from collections.abc import Sequence

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from schema.database.tables import leads
from schema.lead.lead_id import LeadId

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

    def wait(self, ids: Sequence[LeadId]) -> None:
        """Block until the replica has the rows of all `ids`, which are different.

        It looks for the rows themselves: a replica that was promoted counts on from where it was, and how far it has
        counted says nothing of the old primary's last commits. Raises ReplicaBehind after the timeout.
        """
        deadline = time.monotonic() + self._timeout
        pause = FIRST_LOOK_INTERVAL
        while self._rows(ids) < len(ids):
            if time.monotonic() > deadline:
                raise ReplicaBehind("the replica is behind or away")
            time.sleep(pause)
            pause = min(2 * pause, LOOK_INTERVAL_MAX)

    def _rows(self, ids: Sequence[LeadId]) -> int:
        """Return how many of the rows the replica has; -1 when it does not answer."""
        try:
            with self._replica.connect() as connection:
                return connection.execute(select(func.count()).where(leads.c.id.in_(ids))).scalar_one()
        except SQLAlchemyError:
            return -1
