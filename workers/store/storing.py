"""Storing: what one ticket does. It takes batches from the shards in turn."""

import time
from collections import deque
from collections.abc import Sequence

from redis.exceptions import RedisError
from sqlalchemy import Engine

from schema.runtime import logs
from schema.runtime.redis_errors import reason_of
from schema.settings import Settings
from workers import metrics
from workers.store.backoff import Backoff
from workers.store.batch import BatchStore, DatabaseAway, Outcome, StoringFailed
from workers.store.batch_trace import TraceBatch, untraced
from workers.store.consumer import Consumer
from workers.store.dead_letter_limit import DeadLetterLimit, DeadLetterLimitReached
from workers.store.kept_out import KeptOutLeads
from workers.store.replica_confirmation import ReplicaConfirmation
from workers.store.slot_lease import SlotLease

# Time (seconds) for which one ticket goes on to the next batch behind a full one. It spreads a ticket's cost over
# several batches, and lets a backlog shrink while leads come in (docs/lab/2026-11-26-behind-the-constants.md).
TICKET_TIME_BUDGET = 0.5

# Pause (seconds) of a shard that did not answer, so that a hung one does not delay the others with each ticket.
SHARD_PAUSE = 2.0

log = logs.get(__name__)


class Storing:
    """Stores waiting leads; a call of `run` serves one ticket. Make it after the fork."""

    def __init__(
        self,
        consumers: Sequence[Consumer],
        engine: Engine,
        lease: SlotLease,
        settings: Settings,
        confirmation: ReplicaConfirmation | None = None,
        trace_batch: TraceBatch = untraced,
    ) -> None:
        """Take a consumer for each shard."""
        self._batch_size = settings.batch_size
        self._backoff = Backoff()
        limit = DeadLetterLimit(settings.dead_letter_max_share, settings.dead_letter_max_in_a_row)
        kept_out = KeptOutLeads()
        self._stores = deque(
            BatchStore(each, engine, lease, limit, kept_out, confirmation, trace_batch) for each in consumers
        )
        self._paused: dict[BatchStore, float] = {}  # until when, by time.monotonic()

    def run(self) -> dict[str, int]:
        """Store a batch of each shard's waiting leads; of those that have more further ones, within TICKET_TIME_BUDGET.

        On return the leads are committed and acknowledged. While the database is away, or too many leads fail for one
        reason, the rest stay in the queue. Raises StoringFailed; then the last batch stays there.
        """
        outcome = Outcome()
        if not self._backoff.ready():
            return outcome.result()
        try:
            self._run_in_turn(outcome)
        except DatabaseAway as error:
            log.warning("database away", reason=str(error), next_try=round(self._backoff.record_failure(), 1))
        except DeadLetterLimitReached as error:
            metrics.STOPPED.set(1)
            log.error("storing stopped", reason=str(error), next_try=round(self._backoff.record_failure(), 1))
        return outcome.result()

    def _run_in_turn(self, outcome: Outcome) -> None:
        deadline = time.monotonic() + TICKET_TIME_BUDGET
        # Another shard is the first each time, so that processes do not all begin with the same.
        self._stores.rotate(-1)
        turns = deque(each for each in self._stores if self._paused.get(each, 0.0) <= time.monotonic())
        failure: StoringFailed | None = None
        while turns:
            store = turns.popleft()
            try:
                leads = store.run(self._batch_size, outcome)
            except StoringFailed as error:
                failure = error
            except RedisError as error:
                failure = StoringFailed(f"queue: {reason_of(error)}")
                if len(self._stores) > 1:
                    self._paused[store] = time.monotonic() + SHARD_PAUSE
            else:
                self._backoff.reset()
                metrics.STOPPED.set(0)
                if leads >= self._batch_size and time.monotonic() < deadline:
                    turns.append(store)
        if failure is not None:
            raise failure
