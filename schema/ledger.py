"""The ledger: every accepted lead is stored, expired, dead, dropped, erased or waiting.

Redis and the database are not read at the same moment, and a lead is both a row and waiting between COMMIT and its
acknowledgement. So the ledger may be off by the batches in flight; with no traffic it balances exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, Table, func, select

from schema.counts import totals
from schema.database.tables import dropped_leads, erased_leads, leads
from schema.queue import accepted_counts
from schema.queue.accepted_counts import Accepted
from schema.queue.keys import ACCEPTED, DEAD, STREAM
from schema.runtime.redis_clients import ShardClient


@dataclass(frozen=True, slots=True)
class Ledger:
    """The number of leads in each place."""

    accepted: int  # ever appended, as counted by the script that appended them
    stored: int  # rows, as counted by the transactions that inserted them
    expired: int  # former rows, removed because they were older than the retention
    dead: int  # dead letters
    dropped: int  # dead letters that an operator deleted
    erased: int  # removed with their person, wherever they were
    waiting: int  # in the stream, those being stored too

    @property
    def imbalance(self) -> int:
        """How many accepted leads are nowhere; negative when more are somewhere than were accepted."""
        somewhere = self.stored + self.expired + self.dead + self.dropped + self.erased + self.waiting
        return self.accepted - somewhere

    def verdict(self) -> str:
        """Say in one sentence whether the ledger balances, or which way it is off."""
        if self.imbalance == 0:
            return "Balanced: accepted = stored + expired + dead + dropped + erased + waiting."
        if self.imbalance > 0:
            return f"Off: {self.imbalance} accepted leads are nowhere. Redis or the database has lost data."
        return (
            f"Off: {-self.imbalance} more leads are stored, expired, dead, dropped, erased or waiting than were "
            "accepted. Something else writes to the queue or the table, or the accepted counts were lost."
        )


def read_ledger(connection: Connection, shards: Sequence[ShardClient]) -> Ledger:
    """Read the ledger from counts alone, those of all shards added up, in the open transaction.

    Raises RedisError and SQLAlchemyError.
    """
    fresh = [Accepted.parse(cast(dict[bytes, bytes], client.hgetall(each.name(ACCEPTED)))) for each, client in shards]
    came = accepted_counts.total(connection, fresh)
    dropped, erased = (_count(connection, table) for table in (dropped_leads, erased_leads))
    waiting, dead = (sum(int(client.xlen(each.name(key))) for each, client in shards) for key in (STREAM, DEAD))
    version = totals.version(connection)
    return Ledger(came, version.total, version.expired, dead, dropped, erased, waiting)


def count_rows(connection: Connection) -> int:
    """Count the rows of the table `leads`. Scans a whole index: for checks, never for requests."""
    return _count(connection, leads)


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
