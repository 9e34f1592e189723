"""`python -m compose.monitoring.dashboard`: writes Grafana's overview as JSON.

For an operator on call: the first row shows in green or red whether anything is wrong, the rows below where.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}

# Grafana's grid is 24 units wide.
WIDTH = 24

API = 'route=~"/api.*"'


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL query and the legend of its lines."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Stat:
    """One number: orange from `warn` on, red from `bad` on; with `bad` 0, red below 1."""

    title: str
    expr: str
    unit: str
    bad: float
    warn: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over time."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    text: str = ""
    stacked: bool = False
    limit: float | None = None  # threshold of the alert, shown as a line


ALARMS = (
    Stat("Alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)', "none", bad=1, text="Those that fire now."),
    Stat("API containers", 'sum(up{job="leads-api"}) or vector(0)', "none", bad=0, text="That answer."),
    Stat("Workers", 'sum(up{job="leads-worker"}) or vector(0)', "none", bad=0, text="That answer."),
    Stat(
        "Errors",
        f'sum(rate(leads_http_requests_total{{{API}, status=~"5.."}}[1m])) '
        f"/ sum(rate(leads_http_requests_total{{{API}}}[1m])) or vector(0)",
        "percentunit",
        bad=0.01,
        warn=0.001,
    ),
    Stat(
        "Slowest 5 %",
        f"histogram_quantile(0.95, sum by (le) (rate(leads_http_request_duration_seconds_bucket{{{API}}}[1m]))) >= 0 "
        "or vector(0)",
        "s",
        bad=0.5,
        warn=0.25,
        text="One answer in twenty takes longer.",
    ),
    Stat("Oldest waiting lead", "max(leads_queue_oldest_age_seconds)", "s", bad=60, warn=10),
    Stat("Dead letters", "max(leads_dead_letters)", "none", bad=1),
    Stat("Storing stopped", "max(leads_storing_stopped)", "none", bad=1, text="Too many leads fail alike."),
    Stat(
        "Ledger imbalance",
        'max(leads_ledger{place="imbalance"})',
        "none",
        bad=1,
        text="Accepted leads that are nowhere.",
    ),
)

ROWS: tuple[tuple[str, tuple[Chart, ...]], ...] = (
    (
        "Leads",
        (
            Chart(
                "Leads a second",
                "leads/s",
                (
                    Query("sum(rate(leads_accepted_total[1m]))", "accepted"),
                    Query("sum(rate(leads_stored_total[1m]))", "stored"),
                    Query("sum(rate(leads_dead_lettered_total[1m]))", "dead"),
                ),
            ),
            Chart(
                "Waiting",
                "none",
                (Query("max(leads_queue_waiting)", "waiting"), Query("max(leads_queue_pending)", "being stored")),
            ),
            Chart("Age of the oldest", "s", (Query("max(leads_queue_oldest_age_seconds)", "age"),), limit=60),
            Chart(
                "From 202 to row",
                "s",
                tuple(
                    Query(f"histogram_quantile({q}, sum by (le) (rate(leads_storing_delay_seconds_bucket[1m])))", name)
                    for q, name in ((0.5, "half"), (0.99, "99 %"))
                ),
            ),
        ),
    ),
    (
        "Requests",
        (
            Chart(
                "Requests a second by status",
                "reqps",
                (Query(f"sum by (status) (rate(leads_http_requests_total{{{API}}}[1m]))", "{{status}}"),),
                stacked=True,
            ),
            Chart(
                "Time to answer",
                "s",
                tuple(
                    Query(
                        f"histogram_quantile({q}, "
                        f"sum by (le) (rate(leads_http_request_duration_seconds_bucket{{{API}}}[1m])))",
                        name,
                    )
                    for q, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
                ),
                limit=0.5,
            ),
            Chart(
                "Refused a second by reason",
                "reqps",
                (Query("sum by (reason) (rate(leads_rejected_total[1m]))", "{{reason}}"),),
                stacked=True,
            ),
            Chart(
                "Time to answer by route (95 %)",
                "s",
                (
                    Query(
                        "histogram_quantile(0.95, sum by (le, route, method) "
                        f"(rate(leads_http_request_duration_seconds_bucket{{{API}}}[1m])))",
                        "{{method}} {{route}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Queue and storing",
        (
            Chart(
                "Flush to Redis",
                "s",
                tuple(
                    Query(f"histogram_quantile({q}, sum by (le) (rate(leads_flush_duration_seconds_bucket[1m])))", name)
                    for q, name in ((0.5, "half"), (0.99, "99 %"))
                ),
            ),
            Chart(
                "Requests in a flush, leads in a batch",
                "none",
                (
                    Query(
                        "sum(rate(leads_flush_requests_sum[1m])) / sum(rate(leads_flush_requests_count[1m]))",
                        "requests in a flush",
                    ),
                    Query(
                        "sum(rate(leads_batch_leads_sum[1m])) / sum(rate(leads_batch_leads_count[1m]))",
                        "leads in a batch",
                    ),
                ),
            ),
            Chart(
                "Time for a batch",
                "s",
                tuple(
                    Query(f"histogram_quantile({q}, sum by (le) (rate(leads_batch_duration_seconds_bucket[1m])))", name)
                    for q, name in ((0.5, "half"), (0.99, "99 %"))
                ),
            ),
            Chart(
                "Tickets, sweeps and batches",
                "none",
                (
                    Query("max(leads_tickets_waiting)", "tickets waiting"),
                    Query("max(leads_sweeps_waiting)", "sweeps waiting"),
                    Query("sum(leads_worker_busy_processes)", "batches under way"),
                    Query("sum(leads_worker_processes)", "pool processes"),
                ),
            ),
        ),
    ),
    (
        "Sources",
        (
            Chart(
                "Accepted a second by source",
                "none",
                (Query("sum by (source) (rate(leads_source_accepted_total[1m]))", "{{source}}"),),
                stacked=True,
            ),
            Chart(
                "Stored a second by source",
                "none",
                (Query("sum by (source) (rate(leads_source_stored_total[1m]))", "{{source}}"),),
                stacked=True,
            ),
            Chart(
                "Requests a second over a source's rate or daily cap",
                "reqps",
                (Query("sum by (source, reason) (rate(leads_source_refused_total[1m]))", "{{source}}: {{reason}}"),),
                stacked=True,
            ),
            Chart(
                "Duplicates a second",
                "none",
                (Query("sum by (what) (rate(leads_seen_before_total[1m]))", "{{what}}"),),
                stacked=True,
            ),
        ),
    ),
    (
        "Machine",
        (
            Chart(
                "Processors",
                "percentunit",
                (
                    Query(
                        'max(sum by (instance) (rate(leads_machine_cpu_seconds_total{state="busy"}[1m])) '
                        "/ sum by (instance) (rate(leads_machine_cpu_seconds_total[1m])))",
                        "machine",
                    ),
                    Query(
                        "sum by (service) (rate(leads_process_cpu_seconds_total[1m])) "
                        "/ scalar(max(leads_machine_processors))",
                        "{{service}}",
                    ),
                ),
                limit=0.8,
            ),
            Chart(
                "Memory",
                "bytes",
                (
                    Query("max(leads_redis_memory_bytes)", "Redis"),
                    Query("max(leads_redis_memory_max_bytes) > 0", "Redis's limit"),
                    Query("sum by (service) (leads_process_resident_memory_bytes)", "{{service}}"),
                ),
            ),
            Chart(
                "Connections to the database in use",
                "percentunit",
                (
                    Query(
                        "sum by (pool) (leads_database_pool_in_use) / sum by (pool) (leads_database_pool_connections)",
                        "{{pool}}",
                    ),
                ),
            ),
            Chart(
                "Failures a second",
                "ops",
                (
                    Query("sum(rate(leads_flush_failures_total[1m]))", "flushes"),
                    Query("sum(rate(leads_ticket_failures_total[1m]))", "tickets"),
                    Query("sum by (reason) (rate(leads_batch_failures_total[1m]))", "batches: {{reason}}"),
                ),
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the overview as Grafana's JSON model."""
    panels: list[dict[str, Any]] = []
    width = WIDTH // len(ALARMS)
    for number, stat in enumerate(ALARMS):
        panels.append(_stat(stat, {"x": number * width, "y": 0, "w": width, "h": 4}))
    top = 4
    for title, charts in ROWS:
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}, "panels": []})
        width = WIDTH // len(charts)
        for number, chart in enumerate(charts):
            panels.append(_chart(chart, {"x": number * width, "y": top + 1, "w": width, "h": 7}))
        top += 8
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    return {
        "uid": "lead-ingest",
        "title": "Lead Ingest",
        "description": "Red in the first row is what is wrong; docs/operations.md says what to do.",
        "tags": ["lead-ingest"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "panels": panels,
    }


def _stat(stat: Stat, place: dict[str, int]) -> dict[str, Any]:
    if stat.bad:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": stat.bad}]
        if stat.warn:
            steps.insert(1, {"color": "orange", "value": stat.warn})
    else:
        # Counts of running instances: none is bad.
        steps = [{"color": "red", "value": None}, {"color": "green", "value": 1}]
    return {
        "type": "stat",
        "title": stat.title,
        "description": stat.text,
        "datasource": DATASOURCE,
        "gridPos": place,
        "targets": [_target("A", Query(stat.expr))],
        "fieldConfig": {
            "defaults": {"unit": stat.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "options": {"colorMode": "background", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}},
    }


def _chart(chart: Chart, place: dict[str, int]) -> dict[str, Any]:
    custom: dict[str, Any] = {"fillOpacity": 10, "showPoints": "never", "spanNulls": 15_000}
    if chart.stacked:
        custom |= {"stacking": {"mode": "normal"}, "fillOpacity": 40}
    defaults: dict[str, Any] = {"unit": chart.unit, "min": 0, "custom": custom}
    if chart.limit is not None:
        steps = [{"color": "transparent", "value": None}, {"color": "red", "value": chart.limit}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "type": "timeseries",
        "title": chart.title,
        "description": chart.text,
        "datasource": DATASOURCE,
        "gridPos": place,
        "targets": [_target(chr(ord("A") + number), query) for number, query in enumerate(chart.queries)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    }


def _target(name: str, query: Query) -> dict[str, Any]:
    return {"refId": name, "expr": query.expr, "legendFormat": query.legend, "datasource": DATASOURCE}


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=1)
    print()
