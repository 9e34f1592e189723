"""Sends tickets from a thread of its own: no request waits for the broker, and none fails with it."""

import threading
import time

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from ingest_api import metrics
from schema.queue.tickets import BROKER_TIMEOUT, LINGERED, STORE_LEADS, celery_app, tickets_missing
from schema.runtime import logs
from schema.runtime.redis_clients import blocking_redis
from schema.settings import Settings

# Seconds from the first lead that has no ticket until it gets one.
LINGER = 0.1

# Most tickets owed: a broker that was away for long is not flooded, one ticket leads to the next.
OWED_MAX = 1000

log = logs.get(__name__)


class TicketPublisher:
    """One ticket for each full batch of appended leads, or LINGER seconds after the first lead without one.

    The tickets that linger are shared by all API processes: a ticket costs a worker 8 ms of processor time, whatever
    it finds.
    """

    def __init__(self, settings: Settings) -> None:
        self._app = celery_app(settings)
        self._client = blocking_redis(settings, timeout=BROKER_TIMEOUT)
        self._batch_size = settings.batch_size
        self._changed = threading.Condition()
        self._leads = 0  # appended since the last ticket
        self._owed = False  # whether leads wait that no waiting ticket speaks of
        self._since = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tickets", daemon=True)

    def start(self) -> None:
        """Start the thread. Call it after the fork."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Publish what is owed and end the thread, or give it up after `timeout` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)

    def appended(self, leads: int, waiting: int, tickets: int) -> None:
        """Note a flush: `leads` appended, and the leads and tickets that wait after it. Never blocks."""
        with self._changed:
            # A ticket that waits will be fetched later than now, and then finds these leads.
            if not tickets_missing(waiting, tickets, self._batch_size):
                self._leads = 0
                self._owed = False
                return
            if not self._owed:
                self._owed = True
                self._since = time.monotonic()
                self._changed.notify()
            self._leads = min(self._leads + leads, OWED_MAX * self._batch_size)
            if self._leads >= self._batch_size:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            full, rest = self._wait()
            if not full and not rest:
                return
            if rest and not self._stopping and (left := self._moment_of_another()):
                self._put_off(left)
                rest = False
            for _ in range(full + rest):
                if not self._publish():
                    break

    def _moment_of_another(self) -> float:
        """Return for how many seconds the last ticket that lingered is LINGER seconds old at most; else begin anew."""
        try:
            while not self._client.set(LINGERED, b"", nx=True, px=int(LINGER * 1000)):
                left = int(self._client.pttl(LINGERED))
                if left > 0:
                    return left / 1000
        except RedisError:
            pass  # The ticket is sent all the same, and its failure logged.
        return 0.0

    def _put_off(self, left: float) -> None:
        """Leave the leads that are due to another process's ticket, and those that came after it to our next one."""
        with self._changed:
            since = time.monotonic() - LINGER + left
            self._since = min(since, self._since) if self._owed else since
            self._owed = True

    def _wait(self) -> tuple[int, bool]:
        """Wait until tickets are due; return how many for full batches, and whether one for the rest.

        Neither when it is time to stop.
        """
        with self._changed:
            while True:
                full = self._leads // self._batch_size
                due = self._owed and (self._stopping or time.monotonic() - self._since >= LINGER)
                if full or due:
                    rest = self._leads - full * self._batch_size
                    self._leads = 0 if due else rest
                    self._owed = self._leads > 0
                    self._since = time.monotonic()
                    return full, due and (rest > 0 or not full)
                if self._stopping:
                    return 0, False
                self._changed.wait(LINGER - (time.monotonic() - self._since) if self._owed else None)

    def _publish(self) -> bool:
        try:
            self._app.send_task(STORE_LEADS, retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            # Not tried again: the sweep finds the leads.
            metrics.TICKET_FAILURES.inc()
            log.warning("ticket not sent", reason=type(error).__name__)
            return False
        metrics.TICKETS.inc()
        return True
