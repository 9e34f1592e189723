"""The ledger: every accepted lead is stored, expired, dead, dropped or waiting.

The four places are not read at one moment. A lead that is being stored is for a few milliseconds both a row
and waiting, so while leads flow the ledger may be off by the batches under way; standing still it is off by
nothing.
"""

from dataclasses import dataclass
from typing import cast

import redis
from sqlalchemy import Connection, func, select

from schema.counts import totals
from schema.database.tables import dropped_leads, leads
from schema.queue import accepted_counts, keys
from schema.queue.accepted_counts import Accepted


@dataclass(frozen=True, slots=True)
class Ledger:
    """How many leads are where."""

    accepted: int  # ever answered with 202, as counted in the step that appended them
    stored: int  # rows, as counted in the transactions that inserted them
    expired: int  # were rows, and were removed because they were older than the retention
    dead: int  # dead letters
    dropped: int  # dead letters that an operator deleted
    waiting: int  # in the stream, those being stored too

    @property
    def imbalance(self) -> int:
        """How many accepted leads are nowhere; negative when more are somewhere than were accepted."""
        return self.accepted - self.stored - self.expired - self.dead - self.dropped - self.waiting

    def verdict(self) -> str:
        """Say in one sentence whether the ledger balances, or which way it is off."""
        if self.imbalance == 0:
            return "Balanced: accepted = stored + expired + dead + dropped + waiting."
        if self.imbalance > 0:
            return f"Off: {self.imbalance} accepted leads are nowhere. Redis or the database has lost data."
        return (
            f"Off: {-self.imbalance} more leads are stored, expired, dead, dropped or waiting than were accepted. "
            "Something else writes to the queue or the table, or the accepted counts were lost."
        )


def read_ledger(connection: Connection, client: redis.Redis) -> Ledger:
    """Return the ledger as it is now, from counts alone, in the transaction that is open.

    Raises RedisError and SQLAlchemyError.
    """
    fresh = Accepted.parse(cast(dict[bytes, bytes], client.hgetall(keys.ACCEPTED)))
    came = accepted_counts.total(connection, fresh)
    dropped = connection.execute(select(func.count()).select_from(dropped_leads)).scalar_one()
    waiting, dead = client.xlen(keys.STREAM), client.xlen(keys.DEAD)
    version = totals.version(connection)
    return Ledger(came, version.total, version.expired, dead, int(dropped), waiting)


def count_rows(connection: Connection) -> int:
    """Count the rows of the table `leads`. It reads an index from end to end: for checks, never for requests."""
    return int(connection.execute(select(func.count()).select_from(leads)).scalar_one())
