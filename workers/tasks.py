"""The tasks. All may run any number of times, at the same time, on any host."""

import gc
from functools import cache
from typing import Any

from celery.signals import worker_process_init

from schema.database import engines
from schema.queue.tickets import MAINTENANCE, OLD_MAINTENANCE, STORE_LEADS, SWEEP
from schema.runtime.redis_clients import blocking_redis
from workers import metrics
from workers.app import app, settings
from workers.store import fallback_poller
from workers.store.batch import Storing
from workers.store.consumer import Consumer
from workers.store.fallback_poller import FallbackPoller
from workers.upkeep.maintenance import Maintenance
from workers.upkeep.sweep import Sweep

# Seconds a worker waits for Redis: there is no client to answer, but a hung server must not hold it for ever.
REDIS_TIMEOUT = 5.0

# New objects between two looks of the garbage collector: a batch of a thousand leads makes five thousand, and lets go
# of them by itself.
GC_THRESHOLD = 50_000


@app.task(name=STORE_LEADS)
def store_leads() -> dict[str, int]:
    """Store a batch of waiting leads, or more; return how many became rows, were rows before, or are dead letters."""
    return _storing().run()


@app.task(name=SWEEP)
def sweep() -> dict[str, int]:
    """Copy the counts of accepted leads to the database, and forget old keys and consumers."""
    return _sweep().run()


@app.task(name=OLD_MAINTENANCE)
def maintain_for_old_beat() -> dict[str, int]:
    """Do what MAINTENANCE does. To be removed with the release after next."""
    return _maintenance().run()


@app.task(name=MAINTENANCE)
def maintain() -> dict[str, int]:
    """Put the counts of minutes that are over in order, make partitions ahead, and remove leads past the retention."""
    return _maintenance().run()


@worker_process_init.connect
def _prepare(**_: Any) -> None:
    # What came with the fork stays for good: the collector need not look at it, and so take a copy of its pages.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    metrics.POOL_PROCESSES.set(1)
    fallback_poller.start(
        lambda: FallbackPoller(blocking_redis(settings, timeout=REDIS_TIMEOUT), _new_storing()), settings.poll_interval
    )


# Made at the first task of a pool process, so never before its fork.
@cache
def _storing() -> Storing:
    return _new_storing()


def _new_storing() -> Storing:
    client = blocking_redis(settings, timeout=REDIS_TIMEOUT)
    engine = engines.writer(settings.primary_url, timeout=settings.database_timeout)
    return Storing(Consumer(client, settings), engine, settings)


@cache
def _sweep() -> Sweep:
    client = blocking_redis(settings, timeout=REDIS_TIMEOUT)
    engine = engines.writer(settings.primary_url, timeout=settings.database_timeout)
    return Sweep(client, engine, settings)


@cache
def _maintenance() -> Maintenance:
    return Maintenance(engines.writer(settings.primary_url, timeout=settings.database_timeout), settings)
