"""A worker's metrics: added up over its pool processes and served by its main process on a port of its own."""

import collections
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from schema.database.lead_row import LeadRow
from schema.lead.lead_id import LeadId, micros_of
from schema.runtime import logs
from schema.runtime.process_metrics import ProcessCollector
from schema.settings import Settings

# Interval (seconds) of tries to listen: the pool processes of a killed worker keep its port until they end.
LISTEN_AGAIN = 1.0

log = logs.get(__name__)


STORED = Counter("leads_stored", "Leads whose rows a worker committed.")
SOURCE_STORED = Counter("leads_source_stored", "Leads of a source whose rows a worker committed.", ["source"])
DUPLICATES = Counter("leads_duplicates", "Leads that a worker found stored already: delivered twice, stored once.")
DEAD_LETTERED = Counter("leads_dead_lettered", "Leads that a worker made dead letters.")
ERASED = Counter("leads_erased", "Leads that a worker did not store: their person was erased or is kept out.")
BATCH_LEADS = Histogram(
    "leads_batch_leads", "Leads in one batch.", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
)
BATCH_SECONDS = Histogram(
    "leads_batch_duration_seconds",
    "Time from reading a batch to acknowledging it.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STORING_SECONDS = Histogram(
    "leads_storing_delay_seconds",
    "Time from acceptance to the committed row of the oldest lead of each batch, by the API's and the worker's clocks.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200),
)
BATCH_FAILURES = Counter("leads_batch_failures", "Batches that were not stored and stay in the queue.", ["reason"])
for _reason in ("DatabaseAway", "StoringFailed", "DeadLetterLimitReached"):
    BATCH_FAILURES.labels(_reason)
STOPPED = Gauge(
    "leads_storing_stopped",
    "1 while a process stores nothing because too many leads fail alike; see docs/operations.md.",
    multiprocess_mode="livemax",
)
BUSY = Gauge("leads_worker_busy_processes", "Pool processes that store a batch now.", multiprocess_mode="livesum")
POOL_PROCESSES = Gauge("leads_worker_processes", "Pool processes.", multiprocess_mode="livesum")


class Outcome(Protocol):
    """Numbers of leads by what became of them in a batch."""

    stored: int
    duplicates: int
    dead: int
    erased: int


@contextmanager
def batch(outcome: Outcome) -> Iterator[None]:
    """Record the batch of this block, also when it fails, from `outcome` at its end. Empty batches are not counted."""
    BUSY.inc()
    started = time.perf_counter()
    try:
        yield
    except Exception as error:
        BATCH_FAILURES.labels(type(error).__name__).inc()
        raise
    finally:
        BUSY.dec()
        STORED.inc(outcome.stored)
        DUPLICATES.inc(outcome.duplicates)
        DEAD_LETTERED.inc(outcome.dead)
        ERASED.inc(outcome.erased)
        leads = outcome.stored + outcome.duplicates + outcome.dead + outcome.erased
        if leads:
            BATCH_LEADS.observe(leads)
            BATCH_SECONDS.observe(time.perf_counter() - started)


def count_sources(rows: Sequence[LeadRow], stored: Sequence[LeadId]) -> None:
    """Count the leads of each source among `rows` whose rows were just committed."""
    sources = {row.id: row.source for row in rows if row.source is not None}
    for source, number in collections.Counter(sources[each] for each in stored if each in sources).items():
        SOURCE_STORED.labels(source).inc(number)


def observe_delay(leads: Sequence[LeadId]) -> None:
    """Observe the time since the acceptance of the oldest of these leads, whose rows were just committed."""
    if leads:
        STORING_SECONDS.observe(max(0.0, time.time() - micros_of(min(leads)) / 1_000_000))


class _PoolCollector(Collector):
    """Collects the metrics of pool processes: gauges of live ones, counters of all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._collector = MultiProcessCollector(None, path=str(directory))

    def collect(self) -> Iterable[Metric]:
        for path in self._directory.glob("gauge_live*_*.db"):
            pid = int(path.stem.rpartition("_")[2])
            if not _lives(pid):
                mark_process_dead(pid, str(self._directory))
        yield from self._collector.collect()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def serve(settings: Settings) -> None:
    """Serve the metrics from a thread of the worker's main process; while the port is in use it retries."""
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not settings.worker_metrics_port or not directory:
        return
    registry = CollectorRegistry()
    registry.register(_PoolCollector(Path(directory)))
    registry.register(ProcessCollector("worker", os.getpid()))

    def listen() -> None:
        told = False
        while True:
            try:
                start_http_server(settings.worker_metrics_port, settings.worker_metrics_host, registry)
            except OSError as error:
                if not told:
                    log.warning("metrics not answered", port=settings.worker_metrics_port, reason=error.strerror)
                told = True
                time.sleep(LISTEN_AGAIN)
            else:
                return

    threading.Thread(target=listen, name="metrics", daemon=True).start()
