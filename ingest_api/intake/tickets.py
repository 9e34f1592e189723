"""Publishes tickets from a thread of its own, so that no request waits for the broker or fails with it."""

import threading
import time
from typing import Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from ingest_api import metrics
from schema.queue.keys import TICKETS
from schema.queue.tickets import BROKER_TIMEOUT, STORE_LEADS, celery_app, tickets_missing
from schema.runtime import logs
from schema.runtime.redis_clients import blocking_broker
from schema.settings import Settings

# Debounce, seconds: leads that do not fill a batch get a ticket so long after the first of them.
PARTIAL_TICKET_DELAY = 0.1

# Most tickets due, so that a broker that was away is not flooded. The fallback poller finds leads without a ticket.
TICKETS_DUE_MAX = 1000

log = logs.get(__name__)


class TicketPublisher:
    """One ticket for each full batch of appended leads, and one for the rest after PARTIAL_TICKET_DELAY."""

    def __init__(self, settings: Settings) -> None:
        self._asks_broker = any(each.url != settings.tickets_url for each in settings.all_shards)
        self._broker: Any = blocking_broker(settings, timeout=BROKER_TIMEOUT)
        self._waiting = 0  # leads, as of the last flush
        self._app = celery_app(settings)
        self._batch_size = settings.batch_size
        self._changed = threading.Condition()
        self._leads = 0  # appended since the last ticket
        self._deadline: float | None = None  # when a partial batch gets its ticket; None while there is no lead
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="tickets", daemon=True)

    def start(self) -> None:
        """Start the thread. Call it after the fork."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Publish the tickets due and end the thread. Blocks for at most `timeout` seconds."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._thread.join(timeout)

    def on_flush(self, leads: int, waiting: int, tickets: int) -> None:
        """Record a flush: `leads` appended, and the leads and tickets waiting after it. Never blocks.

        Where the tickets are not with the leads, they are counted later, by the thread.
        """
        with self._changed:
            self._waiting = waiting
            # Tickets that wait are fetched after this flush, and so find these leads.
            if not tickets_missing(waiting, tickets, self._batch_size):
                self._leads, self._deadline = 0, None
                return
            self._leads = min(self._leads + leads, TICKETS_DUE_MAX * self._batch_size)
            if self._deadline is None:
                self._deadline = time.monotonic() + PARTIAL_TICKET_DELAY
                self._changed.notify()
            elif self._leads >= self._batch_size:
                self._changed.notify()

    def _run(self) -> None:
        while tickets := self._wait():
            if self._asks_broker:
                tickets = min(tickets, self._missing())
            for _ in range(tickets):
                if not self._publish():
                    break

    def _wait(self) -> int:
        """Wait until tickets are due and return how many; 0 when it is time to stop."""
        with self._changed:
            while True:
                full, rest = divmod(self._leads, self._batch_size)
                if self._deadline is not None and (self._is_ending or time.monotonic() >= self._deadline):
                    self._leads, self._deadline = 0, None
                    return full + bool(rest)
                if full:
                    self._leads = rest
                    self._deadline = time.monotonic() + PARTIAL_TICKET_DELAY if rest else None
                    return full
                if self._is_ending:
                    return 0
                self._changed.wait(None if self._deadline is None else self._deadline - time.monotonic())

    def _missing(self) -> int:
        """Ask the broker how many tickets wait; return how many are missing."""
        try:
            tickets = int(self._broker.llen(TICKETS))
        except (RedisError, OSError):
            return 1  # publishing it notes the failure
        return tickets_missing(self._waiting, tickets, self._batch_size)

    def _publish(self) -> bool:
        try:
            self._app.send_task(STORE_LEADS, retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            # No retry: the fallback poller finds the leads.
            metrics.TICKET_FAILURES.inc()
            log.warning("ticket not sent", reason=type(error).__name__)
            return False
        metrics.TICKETS_SENT.inc()
        return True
