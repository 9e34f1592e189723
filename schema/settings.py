"""Every setting, declared once: its variable, type, default, unit and meaning."""

import dataclasses
import hashlib
import ipaddress
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import environs
from marshmallow import ValidationError
from marshmallow.validate import OneOf, Range
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "LEADS_"

# Who can log in to the embedded run, as its banner and the README say. Everybody knows it.
WELL_KNOWN_PASSWORD = "password123"  # noqa: S105 (no secret)

LOOPBACK = ("127.", "::1", "localhost")

# A unix socket's address holds 108 bytes on Linux and 104 on macOS (sys/un.h), the closing NUL included.
SOCKET_PATH_MAX = 100

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """A setting is wrong; the message is one line that names it."""


def _networks(value: list[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in value if text.strip())


def _is_redis_url(url: str) -> None:
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValidationError("must begin with redis://, rediss:// or unix://")


def _is_database_url(url: str) -> None:
    if not url:
        return
    try:
        driver = make_url(url).drivername
    except ArgumentError:
        raise ValidationError("is not a database URL") from None
    if driver not in ("mysql+pymysql", "sqlite"):
        raise ValidationError("must begin with mysql+pymysql:// or sqlite:///")


def _setting(
    default: Any, doc: str, *, kind: str = "str", unit: str = "", check: Callable[[Any], object] | None = None
) -> Any:
    metadata = {"doc": doc, "kind": kind, "unit": unit, "check": check}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def _number(default: Any, doc: str, *, unit: str, low: float, high: float | None = None, kind: str = "int") -> Any:
    return _setting(default, doc, kind=kind, unit=unit, check=Range(min=low, max=high))


def _cores() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """The settings of one process. `load` makes it from the environment."""

    http_host: str = _setting("127.0.0.1", "Address the API listens on.")
    http_port: int = _number(8080, "Port the API listens on.", unit="port", low=1, high=65535)
    http_workers: int = _number(
        _cores, "API processes; by default one for each core.", unit="processes", low=1, high=256
    )
    http_body_timeout: float = _number(
        30.0, "Longest time a client may take to send its body.", unit="seconds", low=0.1, kind="float"
    )
    http_send_timeout: int = _number(
        60,
        "Longest time a client may leave an answer unread before its connection is broken off. Needs Linux.",
        unit="seconds",
        low=1,
        high=86400,
    )
    http_shutdown_timeout: int = _number(
        25, "Longest time a stopping API process gives its open requests.", unit="seconds", low=1
    )
    http_drain: float = _number(
        0.0,
        "Longest time a stopping API process goes on answering on connections that are open, "
        "until whoever is in front of it has let go of them.",
        unit="seconds",
        low=0,
        kind="float",
    )
    flower_host: str = _setting("127.0.0.1", "Address Flower listens on.")
    flower_port: int = _number(5555, "Port Flower listens on.", unit="port", low=1, high=65535)
    flower_user: str = _setting("test@example.com", "User of Flower's pages (HTTP basic).")
    flower_password: str = _setting(
        WELL_KNOWN_PASSWORD, "Password of Flower's pages. The default is refused when Flower listens off loopback."
    )
    flower_database: Path | None = _setting(
        None,
        "File in which Flower keeps the tasks it has seen over a restart. Empty: `flower/tasks` under the data dir.",
        kind="path",
    )
    data_dir: Path = _setting(
        lambda: Path("./var"),
        "Everything the embedded run keeps: queue, database, keys, logs.",
        kind="path",
    )
    redis_url: str = _setting(
        "",
        "Redis that holds the queue: `redis://`, `rediss://` or `unix://`. "
        "Empty: an embedded server under the data dir.",
        check=_is_redis_url,
    )
    redis_timeout: float = _number(
        0.9,
        "Longest wait for Redis in a request, after which it is answered with 503.",
        unit="seconds",
        low=0.05,
        high=60,
        kind="float",
    )
    redis_replicas: int = _number(
        0,
        "Replicas of Redis that must have a lead on disk before its 202 (WAITAOF, Redis 7.2 or later). "
        "With 0 a failover can lose the last leads.",
        unit="replicas",
        low=0,
        high=8,
    )
    database_url: str = _setting(
        "",
        "Database that keeps the leads: `mysql+pymysql://user:password@host:port/name`, or `sqlite:///path`. "
        "Empty: SQLite under the data dir.",
        check=_is_database_url,
    )
    database_read_url: str = _setting(
        "", "Replica for the read path. Empty: the database itself.", check=_is_database_url
    )
    database_read_lag: float = _number(
        5.0,
        "How far the replica may be behind; while it is further, or away, the primary is read.",
        unit="seconds",
        low=0.1,
        high=3600,
        kind="float",
    )
    database_read_timeout: float = _number(
        5.0,
        "Longest time that a request waits for the database, after which it is answered with 503.",
        unit="seconds",
        low=0.1,
        high=600,
        kind="float",
    )
    database_pool_size: int = _number(
        8, "Database connections, and reader threads, of one API process.", unit="connections", low=1, high=256
    )
    database_timeout: int = _number(10, "Longest wait for one answer of the database.", unit="seconds", low=1, high=600)
    rate_limit: int = _number(
        1000, "Requests a window for each client IP; 0 turns the limit off.", unit="requests", low=0
    )
    rate_limit_window: int = _number(60, "Length of a rate-limit window.", unit="seconds", low=1, high=86400)
    rate_limit_timeout: float = _number(
        0.05,
        "Longest time that a request which appends no lead waits to be counted; after it it goes on without a limit.",
        unit="seconds",
        low=0.001,
        high=60,
        kind="float",
    )
    rate_limit_exempt: tuple[Network, ...] = _setting(
        (), "Client networks without a rate limit, comma-separated CIDR.", kind="networks"
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        (), "Networks whose `X-Forwarded-For` is believed, comma-separated CIDR.", kind="networks"
    )
    worker_concurrency: int = _number(2, "Celery pool processes in one worker.", unit="processes", low=1, high=256)
    worker_nice: int = _number(
        10,
        "How far a worker steps back (`nice`) where it shares processors with the API: leads are accepted first and "
        "stored with the time that is left.",
        unit="niceness",
        low=0,
        high=19,
    )
    batch_size: int = _number(1000, "Most leads in one INSERT.", unit="leads", low=1, high=10000)
    queue_max: int = _number(5_000_000, "Leads waiting, past which POSTs are answered with 503.", unit="leads", low=1)
    claim_after: float = _number(
        10.0,
        "Time after which a batch that a worker read and did not finish is claimed by another. "
        "Measured by Redis's clock.",
        unit="seconds",
        low=0.1,
        kind="float",
    )
    poll_interval: float = _number(
        2.0,
        "Time between two polls of a pool process for leads that no ticket speaks of; it varies by a third.",
        unit="seconds",
        low=0.1,
        kind="float",
    )
    sweep_interval: float = _number(
        2.0,
        "Time between two sweeps, which copy the counts of accepted leads to the database.",
        unit="seconds",
        low=0.1,
        kind="float",
    )
    dead_letter_max_share: float = _number(
        0.1,
        "Share of a batch that may become dead letters for one reason; when it is more (and ten leads or more), "
        "storing stops and nothing is dead-lettered. 1 turns it off.",
        unit="share",
        low=0,
        high=1,
        kind="float",
    )
    dead_letter_max_in_a_row: int = _number(
        100,
        "Leads in a row that may become dead letters for one reason, before storing stops. 0 turns it off.",
        unit="leads",
        low=0,
    )
    deliveries_alone: int = _number(
        10, "Deliveries after which an unfinished entry is tried alone.", unit="deliveries", low=1
    )
    deliveries_max: int = _number(
        20, "Deliveries after which an unfinished entry becomes a dead letter.", unit="deliveries", low=2
    )
    idempotency_ttl: int = _number(86400, "Time an Idempotency-Key is remembered.", unit="seconds", low=1)
    list_max_age: int = _number(
        0,
        "Time a client may show a list again without asking. 0: it asks each time, and gets 304 while nothing was "
        "stored.",
        unit="seconds",
        low=0,
        high=86400,
    )
    retention_months: int = _number(
        0,
        "Whole months that leads are kept beside the current one; older months are removed for good. 0 keeps all.",
        unit="months",
        low=0,
        high=1200,
    )
    worker_metrics_host: str = _setting("127.0.0.1", "Address on which a worker answers its metrics.")
    worker_metrics_port: int = _number(
        9808, "Port on which a worker answers its metrics; 0 for none.", unit="port", low=0, high=65535
    )
    jwt_private_key: Path | None = _setting(
        None, "PEM file of the RSA key that signs tokens. Empty: made under the data dir.", kind="path"
    )
    jwt_public_key: Path | None = _setting(
        None, "PEM file of the RSA key that verifies tokens. Empty: made under the data dir.", kind="path"
    )
    jwt_accepted_keys: Path | None = _setting(
        None,
        "Directory of further public keys, `*.pem`, whose tokens are accepted: those before a change of keys, or those "
        "after the next. Empty: `keys/accepted` under the data dir.",
        kind="path",
    )
    token_ttl: int = _number(3600, "Life of a token.", unit="seconds", low=1, high=86400)
    first_user: str = _setting(
        "test@example.com", "User that is made, with all roles, when there is none yet and a password is given."
    )
    first_password: str = _setting(
        "", "That user's password. Empty: the embedded run makes the well-known test user, on loopback only."
    )
    access_log: str = _setting(
        "all", "Requests that get a log line: `all`, `errors` or `none`.", check=OneOf(["all", "errors", "none"])
    )
    request_log: int = _number(
        10_000,
        "Requests in the request log, and apart errors (`make api-logs`); 0 turns it off. See docs/operations.md.",
        unit="requests",
        low=0,
        high=100_000,
    )
    request_log_bodies: str = _setting(
        "all",
        "Requests whose bodies and responses are in the request log, leads among them: `all`, `errors` or `none`.",
        check=OneOf(["all", "errors", "none"]),
    )
    log_level: str = _setting("INFO", "Least level that is logged.", check=OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]))

    @property
    def embedded_redis(self) -> bool:
        """Whether the queue is the embedded server under the data dir."""
        return not self.redis_url

    @property
    def redis_socket(self) -> Path:
        """The embedded server's unix socket: in the data dir, or in the temporary one when that path is too long."""
        path = self.data_dir / "redis" / "redis.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"lead-ingest-{digest}.sock"

    @property
    def queue_url(self) -> str:
        """The URL redis-py takes for the queue."""
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def broker_url(self) -> str:
        """The URL Celery takes for the same server: kombu names unix sockets in its own way."""
        return self.queue_url.replace("unix://", "redis+socket://", 1)

    @property
    def primary_url(self) -> str:
        """The SQLAlchemy URL of the database that is written to."""
        return self.database_url or f"sqlite:///{self.data_dir / 'leads.db'}"

    @property
    def replica_url(self) -> str:
        """The SQLAlchemy URL of the database that is read from."""
        return self.database_read_url or self.primary_url

    @property
    def private_key_path(self) -> Path:
        """Where the signing key is, or will be made."""
        return self.jwt_private_key or self.data_dir / "keys" / "jwt-private.pem"

    @property
    def public_key_path(self) -> Path:
        """Where the verifying key is, or will be made."""
        return self.jwt_public_key or self.data_dir / "keys" / "jwt-public.pem"

    @property
    def accepted_keys_path(self) -> Path:
        """Where further public keys are, if there are any."""
        return self.jwt_accepted_keys or self.data_dir / "keys" / "accepted"

    @property
    def flower_database_path(self) -> Path:
        """Where Flower keeps what it has seen."""
        return self.flower_database or self.data_dir / "flower" / "tasks"


def variable(name: str) -> str:
    """Return the environment variable of the setting called `name`."""
    return PREFIX + name.upper()


def load() -> Settings:
    """Read and check all settings from the environment. An empty variable counts as absent.

    Raises SettingsError, in one line that names the variable, on the first that is wrong.
    """
    values: dict[str, Any] = {}
    env = environs.Env()
    for spec in dataclasses.fields(Settings):
        name = variable(spec.name)
        if os.environ.get(name, "") == "":
            continue
        kind, check = spec.metadata["kind"], spec.metadata["check"]
        checks = [check] if check else None
        try:
            if kind == "networks":
                values[spec.name] = _networks(env.list(name))
            else:
                values[spec.name] = getattr(env, kind)(name, validate=checks)
        except (environs.EnvError, ValueError) as error:
            text = " ".join(str(error).split())
            raise SettingsError(text if name in text else f"{name}: {text}") from None
    settings = Settings(**values)
    if settings.deliveries_max <= settings.deliveries_alone:
        raise SettingsError(
            f"{variable('deliveries_max')} must be greater than {variable('deliveries_alone')} "
            f"({settings.deliveries_alone})"
        )
    if (settings.jwt_private_key is None) != (settings.jwt_public_key is None):
        raise SettingsError(f"{variable('jwt_private_key')} and {variable('jwt_public_key')} are set together or not")
    if settings.flower_password == WELL_KNOWN_PASSWORD and not settings.flower_host.startswith(LOOPBACK):
        raise SettingsError(
            f"{variable('flower_password')}: the well-known password is for loopback only, "
            f"and {variable('flower_host')} is {settings.flower_host}"
        )
    return dataclasses.replace(settings, data_dir=settings.data_dir.expanduser().resolve())
