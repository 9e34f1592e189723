"""The API's metrics, added up over all gunicorn processes by prometheus_client's multiprocess mode."""

import asyncio
from collections.abc import Iterable

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import Engine, event

from schema.runtime.process_metrics import ProcessCollector

HTTP_REQUESTS = Counter("leads_http_requests", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "leads_http_request_duration_seconds",
    "Time from a request's first byte to its answer, without what it was asked to wait for changes.",
    ["route", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
LEADS_ACCEPTED = Counter("leads_accepted", "Leads appended to the queue.")
SOURCE_ACCEPTED = Counter("leads_source_accepted", "Leads of a source that were appended to the queue.", ["source"])
SEEN_BEFORE = Counter("leads_seen_before", "Leads of a person who came before: marked, or refused.", ["what"])
SOURCE_REFUSED = Counter(
    "leads_source_refused", "Requests over a limit of their source: source_rate or source_cap.", ["source", "reason"]
)
REJECTED = Counter("leads_rejected", "Requests and bulk items that were refused.", ["reason"])
FLUSH_SECONDS = Histogram(
    "leads_flush_duration_seconds",
    "Round trip of one group commit to Redis.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
FLUSH_REQUESTS = Histogram(
    "leads_flush_requests", "Requests that shared one flush.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
SHARDS_AWAY = Gauge(
    "leads_queue_shards_away", "Shards of the queue that this process does not reach.", multiprocess_mode="livemax"
)
FLUSH_FAILURES = Counter("leads_flush_failures", "Flushes that Redis did not take.")
REQUEST_LOG_LOST = Counter(
    "leads_request_log_lost", "Requests that are not in the request log: Redis was away or did not take them."
)
REQUEST_LOG_LEFT_OUT = Counter(
    "leads_request_log_left_out", "Accepted leads that are not in the request log: too many came at once."
)
AUDIT_LOST = Counter(
    "leads_audit_lost", "Audit events that were dropped: Redis was away for too long, or too many waited to be stored."
)
TICKETS_SENT = Counter("leads_tickets_published", "Tickets sent to the workers.")
TICKET_FAILURES = Counter("leads_ticket_failures", "Tickets that the broker did not take.")
CHANGES_WAITING = Gauge(
    "leads_changes_waiting", "Requests that wait for the next stored lead.", multiprocess_mode="livesum"
)
CHANGES_QUERIES = Counter(
    "leads_changes_queries", "Queries for what is new, of all requests of a process that wait together."
)

POOL_SIZE = Gauge(
    "leads_database_pool_connections", "Most connections to the database.", ["pool"], multiprocess_mode="livesum"
)
POOL_IN_USE = Gauge(
    "leads_database_pool_in_use", "Connections to the database in use.", ["pool"], multiprocess_mode="livesum"
)
REPLICA_LAG = Gauge(
    "leads_replica_lag_seconds",
    "How far the replica is behind the primary, by what both have stored; an absent one falls behind by the second.",
    multiprocess_mode="livemax",
)
API_PROCESSES = Gauge("leads_api_processes", "API processes that serve.", multiprocess_mode="livesum")

# Gauges read from Redis at each scrape. All processes and hosts report the same values: aggregate with max, not sum.
QUEUE_GAUGES = {
    "waiting": ("leads_queue_waiting", "Leads in the queue, those being stored too."),
    "pending": ("leads_queue_pending", "Leads that a worker has read and not acknowledged."),
    "oldest": ("leads_queue_oldest_age_seconds", "Age of the lead that waits longest, by Redis's clock; 0: none."),
    "dead": ("leads_dead_letters", "Dead letters."),
    "tickets": ("leads_tickets_waiting", "Tickets that no worker has fetched."),
    "sweeps": ("leads_sweeps_waiting", "Sweeps that no worker has fetched."),
    "consumers": ("leads_queue_consumers", "Pool processes that the consumer group knows; the dead ones for an hour."),
    "audit": ("leads_audit_waiting", "Audit events in Redis that no sweep has stored."),
    "audit_oldest": (
        "leads_audit_oldest_age_seconds",
        "Age of the audit event that waits longest, by Redis's clock; 0: none.",
    ),
    "memory": ("leads_redis_memory_bytes", "Memory that Redis uses."),
    "replicas": ("leads_queue_replicas", "Replicas of the queue's primary, or of the shard that has the fewest."),
    "replica_lag": ("leads_queue_replica_lag_bytes", "What the slowest replica has not acknowledged yet."),
    "memory_max": ("leads_redis_memory_max_bytes", "Memory that Redis may use; 0: all there is."),
}

DATABASE_PRIMARY = ("leads_database_primary", "1 for the database server that takes the writes, by its own name.")


# Flush interval, seconds, of the buffered request counts.
COUNT_INTERVAL = 0.1


class Requests:
    """Counts the answered requests of one process, those of one COUNT_INTERVAL together. Use it from the event loop."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str, int], list[float]] = {}

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Buffer one answered request and its time. `route` is the template of its path."""
        if not self._seconds:
            asyncio.get_running_loop().call_later(COUNT_INTERVAL, self.count)
        self._seconds.setdefault((route, method, status), []).append(seconds)

    def count(self) -> None:
        """Add the buffered requests to the metrics."""
        noted, self._seconds = self._seconds, {}
        for (route, method, status), seconds in noted.items():
            HTTP_REQUESTS.labels(route, method, status).inc(len(seconds))
            histogram = REQUEST_SECONDS.labels(route, method)
            for each in seconds:
                histogram.observe(each)


class StateCollector(Collector):
    """Gauges of ledger, queue and the database's primary; what could not be read is None and left out."""

    def __init__(
        self, ledger: dict[str, int] | None, queue: dict[str, float] | None, primary: str | None = None
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._primary = primary

    def collect(self) -> Iterable[Metric]:
        """Yield a gauge of the ledger, labelled by place, one for each number of the queue, and the primary."""
        if self._ledger is not None:
            family = GaugeMetricFamily(
                "leads_ledger",
                "Leads by where they are; `imbalance` is how many accepted ones are nowhere.",
                labels=["place"],
            )
            for place, number in self._ledger.items():
                family.add_metric([place], number)
            yield family
        if self._queue is not None:
            for key, (name, text) in QUEUE_GAUGES.items():
                if key in self._queue:
                    yield GaugeMetricFamily(name, text, self._queue[key])
        if self._primary is not None:
            family = GaugeMetricFamily(*DATABASE_PRIMARY, labels=["server"])
            family.add_metric([self._primary], 1)
            yield family


def watch_pool(engine: Engine, pool: str, size: int) -> None:
    """Count an engine's connections in use, with the label `pool`; `size` is the pool's maximum."""
    POOL_SIZE.labels(pool).set(size)
    in_use = POOL_IN_USE.labels(pool)
    in_use.set(0)
    event.listen(engine, "checkout", lambda *_: in_use.inc())
    event.listen(engine, "checkin", lambda *_: in_use.dec())


def exposition(
    ledger: dict[str, int] | None, queue: dict[str, float] | None, primary: str | None, processes: ProcessCollector
) -> tuple[bytes, str]:
    """Return the metrics of all API processes and of what was read as Prometheus text, and its content type."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(StateCollector(ledger, queue, primary))
    registry.register(processes)
    return prometheus_client.generate_latest(registry), prometheus_client.CONTENT_TYPE_LATEST
