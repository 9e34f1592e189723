"""Stores a batch of a shard: claim and read, insert, commit, and only then acknowledge."""

import random
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from schema.database.errors import Reaction, reaction_to, reason_of
from schema.database.idempotency import Remembered
from schema.database.lead_row import LeadRow
from schema.lead.lead_id import LeadId
from schema.queue.entries import BadEntry, Entry, id_of
from schema.runtime import logs
from workers import metrics
from workers.store import insertion, seen_before
from workers.store.batch_trace import UNTRACED, TraceBatch, untraced
from workers.store.consumer import Claimed, Consumer
from workers.store.dead_letter_limit import DeadLetterLimit, DeadLetterLimitReached
from workers.store.kept_out import KeptOutLeads
from workers.store.replica_confirmation import ReplicaBehind, ReplicaConfirmation
from workers.store.slot_lease import SlotLease

# Most runs of a transaction that ends in a deadlock or a lock timeout (1213, 1205).
TRANSACTION_ATTEMPTS = 5

# Longest pause (seconds) between two runs.
RETRY_PAUSE_MAX = 0.05

NEVER_FINISHED = "delivered many times and never finished"

log = logs.get(__name__)


class StoringFailed(Exception):
    """A batch was not stored and stays in the queue. The message names the error, but quotes no lead."""


class DatabaseAway(Exception):
    """The database accepts no writes at the moment, or its replica does not have them."""


@dataclass(slots=True)
class Outcome:
    """Numbers of leads by what became of them in a batch or in all batches of a ticket. A task's result."""

    stored: int = 0
    duplicates: int = 0
    dead: int = 0
    erased: int = 0

    def result(self) -> dict[str, int]:
        """Return the numbers by name; `erased`, which is rare, only when there are any."""
        return {name: number for name, number in asdict(self).items() if number or name != "erased"}

    def add(self, batch: "Outcome") -> None:
        """Add the numbers of one batch."""
        self.stored += batch.stored
        self.duplicates += batch.duplicates
        self.dead += batch.dead
        self.erased += batch.erased


class BatchStore:
    """Stores batches of one shard. Make it after the fork."""

    def __init__(
        self,
        consumer: Consumer,
        engine: Engine,
        lease: SlotLease,
        limit: DeadLetterLimit,
        kept_out: KeptOutLeads,
        confirmation: ReplicaConfirmation | None,
        trace_batch: TraceBatch = untraced,
    ) -> None:
        self._consumer = consumer
        self._engine = engine
        self._lease = lease
        self._limit = limit
        self._kept_out = kept_out
        self._confirmation = confirmation
        self._trace_batch = trace_batch
        self._trace = UNTRACED

    def run(self, most: int, outcome: Outcome) -> int:
        """Store one batch of at most `most` leads; return its number of leads. `outcome` adds up what became of it.

        On return the leads are committed and acknowledged. Raises DatabaseAway, DeadLetterLimitReached, StoringFailed
        and RedisError; then they stay in the queue.
        """
        batch = Outcome()
        try:
            with metrics.batch(batch):
                return self._claim_and_store(most, batch)
        except (DatabaseAway, DeadLetterLimitReached, StoringFailed) as error:
            if not batch.stored:
                self._consumer.note_problem(str(error))
            raise
        finally:
            outcome.add(batch)

    def _claim_and_store(self, most: int, outcome: Outcome) -> int:
        try:
            connection = self._engine.connect()
        except SQLAlchemyError as error:
            if _is_unavailable(error):
                raise DatabaseAway(reason_of(error)) from None
            raise StoringFailed(reason_of(error)) from None
        with connection:
            began = time.time_ns()
            claimed = self._consumer.claim_and_read(most)
            if claimed:
                with self._trace_batch(claimed, began) as self._trace:
                    self._store_claimed(connection, claimed, outcome)
        return len(claimed)

    def _store_claimed(self, connection: Connection, claimed: Claimed, outcome: Outcome) -> None:
        try:
            self._dead_letter_exhausted(connection, claimed.exhausted, outcome)
        except (DatabaseAway, DeadLetterLimitReached):
            self._consumer.give_back(claimed.entries, claimed.retry_alone)
            raise
        self._store_each(connection, claimed, outcome)

    def _dead_letter_exhausted(self, connection: Connection, exhausted: list[Entry], outcome: Outcome) -> None:
        """Dead-letter entries at the delivery limit; acknowledge those whose row exists instead."""
        for entry in exhausted:
            lead = id_of(entry.payload)
            try:
                stored = lead is not None and insertion.is_stored(connection, lead)
            except SQLAlchemyError as error:
                raise DatabaseAway(reason_of(error)) from None
            if stored and lead is not None:
                self._acknowledge([entry], [lead], [lead])
                outcome.duplicates += 1
            else:
                self._limit.check([NEVER_FINISHED], 1)
                outcome.dead += self._dead_letter(entry, NEVER_FINISHED)
                self._limit.record([NEVER_FINISHED], 1)

    def _store_each(self, connection: Connection, claimed: Claimed, outcome: Outcome) -> None:
        """Store the batch, then each entry that is tried alone; when storing must stop, give back the rest."""
        failure: StoringFailed | None = None
        left = [claimed.entries, *([entry] for entry in claimed.retry_alone)]
        while left:
            try:
                self._store(connection, left[0], outcome)
            except (DatabaseAway, DeadLetterLimitReached):
                self._give_back(claimed, left)
                raise
            except SQLAlchemyError as error:
                if _is_unavailable(error):
                    self._give_back(claimed, left)
                    raise DatabaseAway(reason_of(error)) from None
                # The error may come from this group only: go on with the others.
                failure = StoringFailed(reason_of(error))
            left.pop(0)
        if failure is not None:
            raise failure

    def _give_back(self, claimed: Claimed, left: list[list[Entry]]) -> None:
        batch = claimed.entries if left[0] is claimed.entries else []
        self._consumer.give_back(batch, [entry for entries in left if entries is not batch for entry in entries])

    def _store(self, connection: Connection, entries: list[Entry], outcome: Outcome) -> None:
        """Store entries in one transaction, then acknowledge them and dead-letter the rejected ones."""
        if not entries:
            return
        leads: list[tuple[Entry, LeadRow]] = []
        keys: list[Remembered] = []
        by_id: dict[bytes, list[Entry]] = {}
        bad: list[tuple[Entry, str]] = []
        for entry in entries:
            try:
                row = entry.row()
                remembered = entry.remembered(row.id)
            except BadEntry as error:
                bad.append((entry, str(error)))
                continue
            leads.append((entry, row))
            if remembered is not None:
                keys.append(remembered)
            by_id.setdefault(row.id, []).append(entry)
        self._limit.check([reason for _, reason in bad], len(entries))
        inserted = self._insert(connection, leads, keys) if leads else insertion.Inserted()
        acknowledged = [entry for group in by_id.values() for entry in group]
        for lead, reason in inserted.rejected.items():
            # A lead that is in the stream twice becomes one dead letter; its other entries are acknowledged.
            first = by_id.pop(lead)[0]
            acknowledged.remove(first)
            bad.append((first, reason))
        if acknowledged:
            self._acknowledge(acknowledged, list(by_id), inserted.stored + inserted.duplicates)
        metrics.observe_delay(inserted.stored)
        metrics.count_sources([row for _, row in leads], inserted.stored)
        outcome.stored += len(inserted.stored)
        outcome.duplicates += len(inserted.duplicates)
        outcome.erased += len(inserted.erased)
        for entry, reason in bad:
            log.error("dead letter", entry=entry.name.decode(), reason=reason)
            outcome.dead += self._dead_letter(entry, reason)
        self._limit.record([reason for _, reason in bad], len(entries))

    def _acknowledge(self, entries: list[Entry], ids: list[LeadId], rows: list[LeadId]) -> None:
        """Remove leads from the queue, once the database's replica has their `rows` where that is asked for."""
        if self._confirmation is not None:
            try:
                self._confirmation.wait(rows)
            except ReplicaBehind as error:
                raise DatabaseAway(str(error)) from None
        self._consumer.acknowledge(entries, ids)
        self._trace.acknowledged(entries)

    def _dead_letter(self, entry: Entry, reason: str) -> bool:
        dead = self._consumer.dead_letter(entry, reason)
        self._trace.dead_letter(entry)
        return dead

    def _insert(
        self, connection: Connection, leads: list[tuple[Entry, LeadRow]], keys: list[Remembered]
    ) -> insertion.Inserted:
        def check(reasons: Iterable[str]) -> None:
            self._limit.check(list(reasons), len(leads))

        rows, firsts = seen_before.find(connection, leads)
        beside = insertion.Beside(keys, firsts)
        kept_out = self._kept_out.among(connection, rows)
        if kept_out:
            rows = [row for row in rows if row.id not in kept_out]
            beside = beside.of({row.id for row in rows})
        for attempt in range(1, TRANSACTION_ATTEMPTS + 1):
            try:
                slot = self._lease.slot()
                with self._trace.insert(len(rows)):
                    return insertion.store(connection, rows, slot, beside, kept_out=list(kept_out), check=check)
            except SQLAlchemyError as error:
                if reaction_to(error) is not Reaction.RETRY or attempt == TRANSACTION_ATTEMPTS:
                    raise
                log.info("transaction run again", reason=reason_of(error), attempt=attempt)
                time.sleep(random.uniform(0, RETRY_PAUSE_MAX))
        raise AssertionError("unreachable")


def _is_unavailable(error: SQLAlchemyError) -> bool:
    return reaction_to(error) in (Reaction.UNAVAILABLE, Reaction.RETRY)
