"""The tasks. All may run any number of times, at the same time, on any host."""

import gc
from functools import cache
from typing import Any

from celery.signals import worker_process_init

from schema.database import engines
from schema.queue.tickets import STORE_LEADS, SWEEP, TEND
from schema.runtime.redis_clients import blocking_redis
from workers import metrics
from workers.app import app, settings
from workers.store import standby
from workers.store.batch import Storing
from workers.store.consumer import Consumer
from workers.store.standby import StandBy
from workers.upkeep.maintenance import Tending
from workers.upkeep.sweep import Sweeping

# Seconds a worker waits for Redis: there is no client to answer, but a hung server must not hold it for ever.
REDIS_TIMEOUT = 5.0

# New objects between two looks of the garbage collector: a batch of a thousand leads makes five thousand, and lets go
# of them by itself.
GC_THRESHOLD = 50_000


@app.task(name=STORE_LEADS)
def store_leads() -> dict[str, int]:
    """Store a batch of waiting leads, or more; return how many were stored, present before, and dead-lettered."""
    return _storing().run()


@app.task(name=SWEEP)
def sweep() -> dict[str, int]:
    """Publish the tickets that are missing, and copy the counts of accepted leads to the database."""
    return _sweeping().run()


@app.task(name=TEND)
def tend() -> dict[str, int]:
    """Put the counts of minutes that are over in order, make partitions ahead, and remove leads past the retention."""
    return _tending().run()


def _publish() -> None:
    app.send_task(STORE_LEADS, retry=False)


@worker_process_init.connect
def _prepare(**_: Any) -> None:
    # What came with the fork stays for good: the collector need not look at it, and so take a copy of its pages.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    metrics.PROCESSES.set(1)
    standby.start(lambda: StandBy(blocking_redis(settings, timeout=REDIS_TIMEOUT), _new_storing()))


# Made at the first task of a pool process, so never before its fork.
@cache
def _storing() -> Storing:
    return _new_storing()


def _new_storing() -> Storing:
    client = blocking_redis(settings, timeout=REDIS_TIMEOUT)
    engine = engines.writer(settings.primary_url, timeout=settings.database_timeout)
    return Storing(Consumer(client, settings), engine, settings, publish=_publish)


@cache
def _sweeping() -> Sweeping:
    client = blocking_redis(settings, timeout=REDIS_TIMEOUT)
    engine = engines.writer(settings.primary_url, timeout=settings.database_timeout)
    return Sweeping(client, engine, settings, publish=_publish)


@cache
def _tending() -> Tending:
    return Tending(engines.writer(settings.primary_url, timeout=settings.database_timeout), settings)
