"""What a worker knows of who is kept out: read again every few seconds, in one statement."""

import time
from collections.abc import Callable

from sqlalchemy import Connection

from schema.database.lead_row import LeadRow
from schema.lead.lead_id import LeadId
from schema.person import kept_out
from schema.person.kept_out import KEPT_OUT_AGE, KeptOut


class KeptOutLeads:
    """Tells which leads must not be stored. Make one for each process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known = KeptOut()
        self._read_at = float("-inf")

    def among(self, connection: Connection, rows: list[LeadRow]) -> set[LeadId]:
        """Return the ids of the rows whose person is kept out, as of KEPT_OUT_AGE seconds ago or less.

        `connection` must not be in a transaction. Raises SQLAlchemyError.
        """
        now = self._clock()
        if now - self._read_at > KEPT_OUT_AGE:
            with connection.begin() as reading:
                self._known = kept_out.read(connection)
                reading.rollback()  # nothing to write to the log
            self._read_at = now
        if not self._known:
            return set()
        return {row.id for row in rows if self._known.holds(row.email, row.phone)}
