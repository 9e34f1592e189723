"""The API's metrics. All gunicorn processes of one service are summed up: see prometheus_client's multiprocess mode."""

from collections.abc import Iterable
from functools import lru_cache

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

REQUESTS = Counter("leads_http_requests", "Requests answered.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "leads_http_request_duration_seconds",
    "Time from a request's first byte to its answer.",
    ["route", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
ACCEPTED = Counter("leads_accepted", "Leads appended to the queue.")
REJECTED = Counter("leads_rejected", "Requests and bulk items that were refused.", ["reason"])
FLUSH_SECONDS = Histogram(
    "leads_flush_duration_seconds",
    "Round trip of one group commit to Redis.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
FLUSH_OPERATIONS = Histogram(
    "leads_flush_operations", "Requests that shared one flush.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
)
FLUSH_FAILURES = Counter("leads_flush_failures", "Flushes that Redis did not take.")
TICKETS = Counter("leads_tickets_published", "Tickets sent to the workers.")
TICKET_FAILURES = Counter("leads_ticket_failures", "Tickets that the broker did not take.")


@lru_cache(maxsize=1024)
def _request_children(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, method, status), REQUEST_SECONDS.labels(route, method)


def note_request(route: str, method: str, status: int, seconds: float) -> None:
    """Count one answered request and its time. `route` is the template of its path."""
    requests, durations = _request_children(route, method, status)
    requests.inc()
    durations.observe(seconds)


class _LedgerCollector(Collector):
    def __init__(self, ledger: dict[str, int]) -> None:
        self._ledger = ledger

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "leads_ledger", "Leads by where they are; `off` is how many accepted ones are nowhere.", labels=["place"]
        )
        for place, number in self._ledger.items():
            family.add_metric([place], number)
        yield family


def exposition(ledger: dict[str, int] | None) -> tuple[bytes, str]:
    """Return the metrics of all API processes, and the ledger, as Prometheus text, and its content type."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    if ledger is not None:
        registry.register(_LedgerCollector(ledger))
    return prometheus_client.generate_latest(registry), prometheus_client.CONTENT_TYPE_LATEST
