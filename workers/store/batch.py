"""Stores batches: take, insert, commit, and only then remove from the queue."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from schema.database.errors import Reaction, reaction_to, reason_of
from schema.database.idempotency import Remembered
from schema.database.lead_row import LeadRow
from schema.queue.stream import BadEntry, Entry, id_of
from schema.queue.tickets import tickets_for
from schema.runtime import logs
from schema.settings import Settings
from workers import metrics
from workers.store import insertion
from workers.store.backoff import Patience
from workers.store.consumer import Backlog, Consumer, Taken

# Times a transaction is run that the server keeps giving up in favour of others (1205, 1213).
ATTEMPTS = 5

# Longest pause between two of them, seconds.
PAUSE = 0.05

# Seconds for which one ticket goes on to the next batch behind a full one. A ticket is 7 ms of processor time, in
# Celery's main process and in Flower: a sixth of what it takes to store a batch of a thousand leads. A sweep
# waits as long (docs/performance.md has the measurement).
TURN = 0.5

NEVER_FINISHED = "delivered many times and never finished"

NOTHING_BEHIND = Backlog(0, 0)

log = logs.get(__name__)


class StoringFailed(Exception):
    """A batch was not stored and stays in the queue. The message names the error and quotes no lead."""


class DatabaseAway(Exception):
    """The database takes no writes at the moment."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch, or of a ticket's batches, in leads. It is a task's result: it holds nothing personal."""

    stored: int = 0
    present: int = 0
    dead: int = 0

    def add(self, batch: "Outcome") -> None:
        """Add what became of one batch."""
        self.stored += batch.stored
        self.present += batch.present
        self.dead += batch.dead


class Storing:
    """Stores what waits: each call of `run` does what one ticket asks for. Make it after the fork."""

    def __init__(self, consumer: Consumer, engine: Engine, settings: Settings, *, publish: Callable[[], None]) -> None:
        self._consumer = consumer
        self._engine = engine
        self._batch_size = settings.batch_size
        self._publish = publish
        self._patience = Patience()
        self._slot = os.getpid()

    def run(self) -> dict[str, int]:
        """Store up to one batch of waiting leads, and for TURN seconds the next one behind each that was full.

        Tickets of batches that it stored so are taken off their queue, and one is published
        when there are too few for what is left: one that waits goes on speaking of one batch.

        On return the leads are committed and out of the queue. While the database is away
        nothing is taken. Raises StoringFailed; then the leads of the last batch are still in
        the queue.
        """
        outcome = Outcome()
        if self._patience.is_over():
            end = time.monotonic() + TURN
            try:
                while self._run_batch(outcome, end):
                    pass
            except DatabaseAway as error:
                log.warning("database away", reason=str(error), next_try=round(self._patience.failed(), 1))
            except RedisError as error:
                raise StoringFailed(f"queue: {type(error).__name__}") from None
        return asdict(outcome)

    def _run_batch(self, outcome: Outcome, end: float) -> bool:
        """Store one batch; tell whether another is to follow."""
        batch = Outcome()
        try:
            with metrics.batch(batch):
                behind = self._run(batch)
        finally:
            outcome.add(batch)
        self._patience.succeeded()
        follows = behind.untaken > 0 and time.monotonic() < end
        if behind.untaken:
            self._set_tickets_right(behind, follows)
        return follows

    def _run(self, outcome: Outcome) -> Backlog:
        """Store one batch; return what waits behind it, which is nothing unless it was full."""
        try:
            connection = self._engine.connect()
        except SQLAlchemyError as error:
            if _is_away(error):
                raise DatabaseAway(reason_of(error)) from None
            raise StoringFailed(reason_of(error)) from None
        with connection:
            taken = self._consumer.take(self._batch_size)
            if not taken:
                return NOTHING_BEHIND
            self._give_up(connection, taken.hopeless, outcome)
            backlog = self._guard(connection, taken, outcome)
        # Behind less than a full batch comes nothing but what was appended meanwhile, and that gets its own ticket.
        return backlog if len(taken) >= self._batch_size else NOTHING_BEHIND

    def _give_up(self, connection: Connection, hopeless: list[Entry], outcome: Outcome) -> None:
        """Bury entries that nobody finishes, except those that are stored and were never settled."""
        for entry in hopeless:
            lead = id_of(entry.payload)
            try:
                stored = lead is not None and insertion.is_stored(connection, lead)
            except SQLAlchemyError as error:
                raise DatabaseAway(reason_of(error)) from None
            if stored and lead is not None:
                self._consumer.settle([entry], [lead])
                outcome.present += 1
            else:
                outcome.dead += self._consumer.bury(entry, NEVER_FINISHED)

    def _guard(self, connection: Connection, taken: Taken, outcome: Outcome) -> Backlog:
        """Store what was taken; when the database goes away meanwhile, leave the rest to the next try."""
        backlog = NOTHING_BEHIND
        failure: StoringFailed | None = None
        for number, entries in enumerate((taken.entries, *([suspect] for suspect in taken.suspects))):
            try:
                backlog = self._store(connection, entries, outcome)
            except SQLAlchemyError as error:
                if _is_away(error):
                    # The batch is number 0, and suspect n is number n + 1.
                    self._consumer.release(entries if number == 0 else [], taken.suspects[max(number - 1, 0) :])
                    raise DatabaseAway(reason_of(error)) from None
                # The others are not to blame: they are tried all the same.
                failure = StoringFailed(reason_of(error))
        if failure is not None:
            raise failure
        return backlog

    def _store(self, connection: Connection, entries: list[Entry], outcome: Outcome) -> Backlog:
        """Store entries in one transaction, settle them, and bury those that cannot be stored."""
        rows: list[LeadRow] = []
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
            rows.append(row)
            if remembered is not None:
                keys.append(remembered)
            by_id.setdefault(row.id, []).append(entry)
        inserted = self._insert(connection, rows, keys) if rows else insertion.Inserted()
        settled = [entry for group in by_id.values() for entry in group]
        for lead, reason in inserted.poison.items():
            # A lead that stands in the stream twice becomes one dead letter.
            first = by_id.pop(lead)[0]
            settled.remove(first)
            bad.append((first, reason))
        backlog = self._consumer.settle(settled, list(by_id))
        metrics.observe_delay(inserted.stored)
        outcome.stored += len(inserted.stored)
        outcome.present += len(inserted.present)
        for entry, reason in bad:
            log.error("dead letter", entry=entry.name.decode(), reason=reason)
            outcome.dead += self._consumer.bury(entry, reason)
        return backlog

    def _insert(self, connection: Connection, rows: list[LeadRow], keys: list[Remembered]) -> insertion.Inserted:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return insertion.store(connection, rows, self._slot, keys)
            except SQLAlchemyError as error:
                if reaction_to(error) is not Reaction.AGAIN or attempt == ATTEMPTS:
                    raise
                log.info("transaction run again", reason=reason_of(error), attempt=attempt)
                time.sleep(random.uniform(0, PAUSE))
        raise AssertionError("unreachable")

    def _set_tickets_right(self, behind: Backlog, follows: bool) -> None:
        """Take the next ticket, or publish one, unless as many wait as others need; the next batch may be ours."""
        others = behind.untaken - self._batch_size if follows else behind.untaken
        needed = tickets_for(others, self._batch_size)
        if behind.tickets > needed and follows:
            self._consumer.take_ticket()
        elif behind.tickets < needed:
            try:
                self._publish()
            except (OperationalError, OSError) as error:
                log.warning("ticket not sent", reason=type(error).__name__)


def _is_away(error: SQLAlchemyError) -> bool:
    return reaction_to(error) in (Reaction.AWAY, Reaction.AGAIN)
