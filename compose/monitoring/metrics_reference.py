"""`python -m compose.monitoring.metrics_reference`: prints the reference of all metrics, from their declarations."""

import os
from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from ingest_api import metrics as api
from schema.runtime.process_metrics import ProcessCollector
from workers import metrics as worker

HEADER = """\
# Metrics

The API answers them on `GET /metrics`, all processes of one gunicorn together; nginx does not let that path out. A
worker answers those of its pool processes together on `LEADS_WORKER_METRICS_HOST` and `LEADS_WORKER_METRICS_PORT`.
Counters end in `_total`, histograms in `_bucket`, `_sum` and `_count`. Durations are in seconds. Labels hold routes,
reasons and places, never anything of a lead, a user or a client.

Gauges of the queue and the ledger are read from Redis and the database at each scrape, by each API container alike:
take their `max`, not their `sum`. One that cannot be read is left out.

Made by `make docs` from the declarations; a test holds the two together, and another the names to what runs.
"""


def _declared(module: object) -> list[MetricWrapperBase]:
    return [each for each in vars(module).values() if isinstance(each, MetricWrapperBase)]


def _rows(metrics: Iterable[tuple[Metric, tuple[str, ...]]]) -> list[str]:
    rows = []
    for metric, labels in metrics:
        name = metric.name + ("_total" if metric.type == "counter" else "")
        named = ", ".join(f"`{label}`" for label in labels)
        rows.append(f"| `{name}` | {metric.type} | {named} | {metric.documentation} |")
    return rows


def _of(module: object) -> list[str]:
    return _rows((next(iter(each.describe())), each._labelnames) for each in _declared(module))


def _state() -> list[str]:
    """Return the rows of the gauges that are read at each scrape, made from dummy values."""
    families = api.StateCollector({"imbalance": 0}, dict.fromkeys(api.QUEUE_GAUGES, 0.0), "").collect()
    return _rows((each, tuple(each.samples[0].labels)) for each in families)


def _processes() -> list[str]:
    families = ProcessCollector("api", os.getpid()).collect()
    return _rows((each, tuple(each.samples[0].labels)) for each in families)


def reference() -> str:
    """Return the reference as a Markdown page."""
    head = "| metric | type | labels | meaning |\n|---|---|---|---|\n"
    sections = {
        "Of the API": _of(api),
        "Of the queue and the ledger, answered by the API": _state(),
        "Of the workers": _of(worker),
        "Of the processes and the machine, answered by both": _processes(),
    }
    text = "".join(f"\n## {title}\n\n{head}" + "\n".join(rows) + "\n" for title, rows in sections.items())
    return HEADER + text


if __name__ == "__main__":
    print(reference(), end="")
