"""The database: where it is, how long it may take, how long leads are kept."""

from dataclasses import dataclass

from schema.settings.declare import check_database_url, number, setting


@dataclass(frozen=True)
class DatabaseSettings:
    """The database: where it is, how long it may take, how long leads are kept."""

    database_url: str = setting(
        "",
        "Database that keeps the leads: `mysql+pymysql://user:password@host:port/name`, or `sqlite:///path`. "
        "Empty: SQLite under the data dir.",
        check=check_database_url,
    )
    database_read_url: str = setting(
        "",
        "Replica that lists, exports and statistics are read from. Empty: the database itself.",
        check=check_database_url,
    )
    database_read_lag: float = number(
        5.0,
        "How far the replica may be behind; while it is further, or away, the primary is read.",
        unit="seconds",
        low=0.1,
        high=3600,
        kind="float",
    )
    database_replicas: int = number(
        0,
        "1: a batch leaves the queue only when the replica has its rows, so that its promotion loses none. For "
        "asynchronous replication; Group Replication needs it not.",
        unit="replicas",
        low=0,
        high=1,
    )
    database_read_timeout: float = number(
        5.0,
        "Longest time that a request waits for the database, after which it is answered with 503.",
        unit="seconds",
        low=0.1,
        high=600,
        kind="float",
    )
    database_pool_size: int = number(
        8, "Database connections, and reader threads, of one API process.", unit="connections", low=1, high=256
    )
    database_timeout: int = number(10, "Longest wait for one answer of the database.", unit="seconds", low=1, high=600)
    retention_months: int = number(
        0,
        "Whole months that leads are kept beside the current one; older months are removed for good. 0 keeps all.",
        unit="months",
        low=0,
        high=1200,
    )
