"""Tickets: Celery messages that say "go and fetch". They hold no lead, and losing one loses nothing."""

from celery import Celery
from kombu.entity import Queue

from schema.queue.keys import SWEEPS, TICKETS
from schema.runtime.keepalive import KEEPALIVE
from schema.runtime.redis_clients import ASK_ONCE
from schema.settings import Settings

STORE_LEADS = "store_leads"
SWEEP = "sweep"
MAINTENANCE = "maintain"

# What beat of release 0.1 sends for MAINTENANCE: it may run beside new workers.
OLD_MAINTENANCE = "tend"

# Interval (seconds) between two runs of MAINTENANCE.
MAINTENANCE_INTERVAL = 60.0

# Socket timeout, seconds, of the connection to the broker.
BROKER_TIMEOUT = 5

# Expiry (seconds) of a beat message that no worker has fetched. Longer than any clock skew, because beat's clock sets
# the time and a worker's compares it.
SWEEP_EXPIRES = 2 * 3600


def celery_app(settings: Settings) -> Celery:
    """Make the Celery app that API and workers share: two queues, no results, JSON only. Connects at first use."""
    sentinel_name = settings.broker_sentinel_name
    app = Celery("lead-ingest", broker=settings.celery_broker_url)
    app.conf.update(
        task_queues=[Queue(name, routing_key=name) for name in (TICKETS, SWEEPS)],
        task_default_queue=TICKETS,
        task_default_routing_key=TICKETS,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        timezone="UTC",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # No copy of a fetched ticket in Redis: the sweep replaces what a killed worker held. With copies, a worker
            # that loses Redis while it holds a ticket ends (kombu 5.7: QoS.restore_unacked_once, transport closed).
            "ack_emulation": False,
            "socket_timeout": BROKER_TIMEOUT,
            "socket_connect_timeout": BROKER_TIMEOUT,
            "socket_keepalive": True,
            "socket_keepalive_options": KEEPALIVE,
            "health_check_interval": BROKER_TIMEOUT,
            **({"master_name": sentinel_name, "sentinel_kwargs": ASK_ONCE} if sentinel_name else {}),
        },
        # At a failover Redis answers a blocked BRPOP with UNBLOCKED, which kombu takes for an error of the channel; the
        # worker's main process would end.
        broker_channel_error_retry=True,
        # No prefetching, so that the length of the queue shows the tickets that wait.
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_concurrency=settings.worker_concurrency,
        # A batch survives a lost connection to the broker: the stream, not Celery, tracks what is done.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        beat_schedule={
            SWEEP: {
                "task": SWEEP,
                "schedule": settings.sweep_interval,
                "options": {"queue": SWEEPS, "expires": SWEEP_EXPIRES},
            },
            MAINTENANCE: {
                "task": MAINTENANCE,
                "schedule": MAINTENANCE_INTERVAL,
                "options": {"queue": SWEEPS, "expires": SWEEP_EXPIRES},
            },
        },
        beat_schedule_filename=str(settings.data_dir / "beat" / "schedule"),
        beat_max_loop_interval=settings.sweep_interval,
    )
    return app


def tickets_for(leads: int, batch_size: int) -> int:
    """Return the number of tickets for so many leads: one for each batch, the last may be partial."""
    return max(0, -(-leads // batch_size))


def tickets_missing(waiting: int, tickets: int, batch_size: int) -> int:
    """Return how many tickets are missing when `waiting` leads and `tickets` tickets wait."""
    return max(0, tickets_for(waiting, batch_size) - tickets)
