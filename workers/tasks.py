"""The Celery tasks. Each may run any number of times, concurrently, on any host."""

import gc
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

from celery.signals import worker_process_init, worker_process_shutdown
from sqlalchemy import Engine

from schema.database import engines
from schema.queue.tickets import MAINTENANCE, OLD_MAINTENANCE, STORE_LEADS, SWEEP
from schema.runtime.redis_clients import blocking_broker, blocking_shards
from workers import metrics
from workers.app import app, settings
from workers.store import batch_trace, fallback_poller
from workers.store.batch_trace import TraceBatch
from workers.store.consumer import Consumer
from workers.store.fallback_poller import FallbackPoller
from workers.store.replica_confirmation import ReplicaConfirmation
from workers.store.slot_lease import SlotLease
from workers.store.storing import Storing
from workers.upkeep.maintenance import Maintenance
from workers.upkeep.quiet_task import QuietTask
from workers.upkeep.sweep import Sweep

if TYPE_CHECKING:
    from schema.runtime.tracing import Tracing

# Redis timeout, seconds. No client waits, but a Redis that hangs must not block a worker for ever.
REDIS_TIMEOUT = 5.0

# Garbage collector's threshold, in new objects: well above those of a batch, which are freed without the collector.
GC_THRESHOLD = 50_000


@app.task(name=STORE_LEADS)
def store_leads() -> dict[str, int]:
    """Store one or more batches of waiting leads; return how many were stored, duplicates or dead letters."""
    return _storing().run()


@app.task(name=SWEEP, base=QuietTask)
def sweep() -> dict[str, int]:
    """Copy the counts of accepted leads to the database, and delete old keys and consumers; return how many."""
    return _sweep().run()


@app.task(name=OLD_MAINTENANCE, base=QuietTask)
def maintain_for_old_beat() -> dict[str, int]:
    """Do what MAINTENANCE does. To be removed with the release after next."""
    return _maintenance().run()


@app.task(name=MAINTENANCE, base=QuietTask)
def maintain() -> dict[str, int]:
    """Compact the counts of past minutes, make partitions ahead, and remove expired leads; return how many."""
    return _maintenance().run()


@worker_process_init.connect
def _prepare(**_: Any) -> None:
    # Frozen: a collection would write to the pages inherited from the fork, and so copy them (copy-on-write).
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    metrics.POOL_PROCESSES.set(1)
    _tracing()
    fallback_poller.start(_new_poller, settings.poll_interval)


@worker_process_shutdown.connect
def _finish(**_: Any) -> None:
    tracing = _tracing()
    if tracing is not None:
        tracing.stop()


@cache
def _tracing() -> "Tracing | None":
    if not settings.traces_url:
        return None
    # Late import: OpenTelemetry takes 9 MB of each process.
    from schema.runtime.tracing import Tracing

    return Tracing("lead-ingest-worker", settings)


# Cached, and made at a pool process's first task, so never before the fork.
@cache
def _storing() -> Storing:
    return _new_storing()


def _new_storing() -> Storing:
    shards = blocking_shards(settings, timeout=REDIS_TIMEOUT)
    engine = engines.writer(settings.primary_url, timeout=settings.database_timeout)
    lease = SlotLease(shards[0], uuid.uuid4().hex)
    consumers = [Consumer(each, settings) for each in shards]
    return Storing(consumers, engine, lease, settings, _new_confirmation(), _trace_batch(engine))


def _trace_batch(engine: Engine) -> TraceBatch:
    tracing = _tracing()
    if tracing is None:
        return batch_trace.untraced
    from workers.store.batch_spans import batch_spans

    return batch_spans(tracing.tracer, engine.dialect.name)


def _new_poller() -> FallbackPoller:
    shards = blocking_shards(settings, timeout=REDIS_TIMEOUT)
    return FallbackPoller(shards, blocking_broker(settings, timeout=REDIS_TIMEOUT), _new_storing())


def _new_confirmation() -> ReplicaConfirmation | None:
    if not settings.database_replicas:
        return None
    replica = engines.reader(settings.replica_url, timeout=settings.database_timeout, pool_size=1)
    return ReplicaConfirmation(replica, settings.database_timeout)


@cache
def _sweep() -> Sweep:
    engine = engines.writer(settings.primary_url, timeout=settings.database_timeout)
    return Sweep(blocking_shards(settings, timeout=REDIS_TIMEOUT), engine, settings)


@cache
def _maintenance() -> Maintenance:
    return Maintenance(engines.writer(settings.primary_url, timeout=settings.database_timeout), settings)
