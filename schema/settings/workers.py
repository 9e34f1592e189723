"""The workers: batches, claims, dead letters."""

from dataclasses import dataclass

from schema.settings.declare import number, setting


@dataclass(frozen=True)
class WorkerSettings:
    """The workers: batches, claims, dead letters."""

    worker_concurrency: int = number(2, "Celery pool processes in one worker.", unit="processes", low=1, high=256)
    worker_nice: int = number(
        10,
        "How far a worker steps back (`nice`) where it shares processors with the API: leads are accepted first and "
        "stored with the time that is left.",
        unit="niceness",
        low=0,
        high=19,
    )
    batch_size: int = number(1000, "Most leads in one INSERT.", unit="leads", low=1, high=10000)
    claim_after: float = number(
        10.0,
        "Time after which a batch that a worker read and did not finish is claimed by another. "
        "Measured by Redis's clock.",
        unit="seconds",
        low=0.1,
        kind="float",
    )
    poll_interval: float = number(
        2.0,
        "Time between two polls of a pool process for leads that no ticket speaks of; it varies by a third.",
        unit="seconds",
        low=0.1,
        kind="float",
    )
    sweep_interval: float = number(
        2.0,
        "Time between two sweeps, which copy the counts of accepted leads to the database.",
        unit="seconds",
        low=0.1,
        kind="float",
    )
    dead_letter_max_share: float = number(
        0.1,
        "Share of a batch that may become dead letters for one reason; when it is more (and ten leads or more), "
        "storing stops and nothing is dead-lettered. 1 turns it off.",
        unit="share",
        low=0,
        high=1,
        kind="float",
    )
    dead_letter_max_in_a_row: int = number(
        100,
        "Leads in a row that may become dead letters for one reason, before storing stops. 0 turns it off.",
        unit="leads",
        low=0,
    )
    deliveries_alone: int = number(
        10, "Deliveries after which an unfinished entry is tried alone.", unit="deliveries", low=1
    )
    deliveries_max: int = number(
        20, "Deliveries after which an unfinished entry becomes a dead letter.", unit="deliveries", low=2
    )
    worker_metrics_host: str = setting("127.0.0.1", "Address on which a worker answers its metrics.")
    worker_metrics_port: int = number(
        9808, "Port on which a worker answers its metrics; 0 for none.", unit="port", low=0, high=65535
    )
