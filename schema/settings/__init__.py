"""All settings, each declared once with type, default, unit and meaning. One file for each group."""

import dataclasses
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import environs

from schema.settings.auth import AuthSettings
from schema.settings.database import DatabaseSettings
from schema.settings.declare import Network, is_loopback, networks_of, setting
from schema.settings.flower import FlowerSettings
from schema.settings.http import HttpSettings
from schema.settings.logs import LogSettings
from schema.settings.passwords import WELL_KNOWN_PASSWORD, weakness
from schema.settings.queue import QueueSettings
from schema.settings.redis_urls import CLUSTER_SCHEME, SENTINEL_SCHEME, SentinelUrl
from schema.settings.shards import Shard, shards_of
from schema.settings.traces import TraceSettings, check_sdk_variables
from schema.settings.workers import WorkerSettings

__all__ = ["WELL_KNOWN_PASSWORD", "Network", "Settings", "SettingsError", "is_loopback", "load", "variable"]

PREFIX = "LEADS_"

# Of a variable that names a file with the value: how Docker's and Kubernetes' secrets reach a process.
FILE_SUFFIX = "_FILE"

# A unix socket's path has at most 108 bytes on Linux and 104 on macOS (sys/un.h), including the final NUL.
SOCKET_PATH_MAX = 100

# The groups by their titles in the reference.
GROUPS = {
    "API": HttpSettings,
    "Flower": FlowerSettings,
    "Queue": QueueSettings,
    "Database": DatabaseSettings,
    "Workers": WorkerSettings,
    "Tokens and users": AuthSettings,
    "Logs": LogSettings,
    "Traces": TraceSettings,
}


class SettingsError(Exception):
    """A setting is wrong; the message is one line that names it."""


@dataclass(frozen=True)
class Settings(
    HttpSettings,
    FlowerSettings,
    QueueSettings,
    DatabaseSettings,
    WorkerSettings,
    AuthSettings,
    LogSettings,
    TraceSettings,
):
    """The settings of one process. `load` makes it from the environment."""

    data_dir: Path = setting(
        lambda: Path("./var"),
        "Everything the embedded run keeps: queue, database, keys, logs.",
        kind="path",
    )

    @property
    def embedded_redis(self) -> bool:
        """Whether the queue is the embedded server under the data dir."""
        return not self.redis_url

    @property
    def redis_socket(self) -> Path:
        """The embedded server's unix socket: in the data dir, or when that path is too long in a directory of its own.

        That one is under the temporary dir; compose.preflight makes it for this user alone.
        """
        path = self.data_dir / "redis" / "redis.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"lead-ingest-{os.getuid()}-{digest}" / "redis.sock"

    @property
    def queue_url(self) -> str:
        """The queue's URL for redis-py."""
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The shards that leads are appended to, at least one."""
        return self._shards(self.queue_url, self.queue_shards)

    @property
    def next_shards(self) -> tuple[Shard, ...]:
        """The shards of the queue that a reshard moves to; mostly none."""
        return self._shards(self.queue_next_url or self.queue_url, self.queue_next_shards)

    @property
    def all_shards(self) -> tuple[Shard, ...]:
        """All shards in which leads may wait."""
        return self.shards + self.next_shards

    @property
    def home_shard(self) -> Shard:
        """The shard that also has what belongs to no lead, such as the request log: the first of the queue to come."""
        return (self.next_shards or self.shards)[0]

    @property
    def tickets_url(self) -> str:
        """The broker's URL for redis-py: of the server that has Celery's messages."""
        return self.broker_url or self.queue_url

    @property
    def celery_broker_url(self) -> str:
        """The broker's URL for Celery: kombu has its own schemes for unix sockets and for Sentinel."""
        url = self.tickets_url
        if not url.startswith(SENTINEL_SCHEME):
            return url.replace("unix://", "redis+socket://", 1)
        found = SentinelUrl.parse(url)
        user, password = (quote(each, safe="") for each in (found.username, found.password))
        credentials = f"{user}:{password}@" if password else ""
        hosts = ((f"[{host}]" if ":" in host else host, port) for host, port in found.sentinels)
        return ";".join(f"sentinel://{credentials}{host}:{port}" for host, port in hosts)

    @property
    def broker_sentinel_name(self) -> str:
        """What the broker's Sentinels call its primary; empty without Sentinels."""
        url = self.tickets_url
        return SentinelUrl.parse(url).name if url.startswith(SENTINEL_SCHEME) else ""

    @staticmethod
    def _shards(url: str, number: int) -> tuple[Shard, ...]:
        return shards_of(url, number, is_cluster=url.startswith(CLUSTER_SCHEME)) if number else ()

    @property
    def primary_url(self) -> str:
        """The SQLAlchemy URL of the primary database."""
        return self.database_url or f"sqlite:///{self.data_dir / 'leads.db'}"

    @property
    def replica_url(self) -> str:
        """The SQLAlchemy URL of the replica; the primary's when none is set."""
        return self.database_read_url or self.primary_url

    @property
    def private_key_path(self) -> Path:
        """The file of the signing key; it may not exist yet."""
        return self.jwt_private_key or self.data_dir / "keys" / "jwt-private.pem"

    @property
    def public_key_path(self) -> Path:
        """The file of the verifying key; it may not exist yet."""
        return self.jwt_public_key or self.data_dir / "keys" / "jwt-public.pem"

    @property
    def accepted_keys_path(self) -> Path:
        """The directory of further accepted public keys; it may not exist."""
        return self.jwt_accepted_keys or self.data_dir / "keys" / "accepted"

    @property
    def flower_database_path(self) -> Path:
        """The file in which Flower keeps tasks over a restart."""
        return self.flower_database or self.data_dir / "flower" / "tasks"


def variable(name: str) -> str:
    """Return the environment variable of the setting called `name`."""
    return PREFIX + name.upper()


def load() -> Settings:
    """Read and check all settings from the environment, or from the files that NAME_FILE variables name.

    An empty variable counts as absent. Raises SettingsError for the first wrong one, with one line that names it.
    """
    values: dict[str, Any] = {}
    env = environs.FileAwareEnv(file_suffix=FILE_SUFFIX, strip_whitespace=True)
    for spec in dataclasses.fields(Settings):
        name = variable(spec.name)
        if not os.environ.get(name) and not os.environ.get(name + FILE_SUFFIX):
            continue
        kind, check = spec.metadata["kind"], spec.metadata["check"]
        checks = [check] if check else None
        try:
            if kind == "networks":
                values[spec.name] = networks_of(env.list(name))
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
    if settings.database_replicas and not settings.database_read_url:
        raise SettingsError(f"{variable('database_replicas')}: {variable('database_read_url')} names no replica")
    _check_queue(settings)
    if settings.traces_url:
        try:
            check_sdk_variables(os.environ)
        except ValueError as error:
            raise SettingsError(str(error)) from None
    weak = weakness(settings.flower_password)
    if weak and not is_loopback(settings.flower_host):
        raise SettingsError(
            f"{variable('flower_password')}: {weak}: {variable('flower_host')} is {settings.flower_host}"
        )
    return dataclasses.replace(settings, data_dir=settings.data_dir.expanduser().resolve())


def _check_queue(settings: Settings) -> None:
    """Check what the queue's settings say together. Raises SettingsError."""
    urls = {settings.redis_url, settings.queue_next_url}
    if any(url.startswith(CLUSTER_SCHEME) for url in urls) and not settings.broker_url:
        raise SettingsError(
            f"{variable('broker_url')}: a Redis Cluster needs a broker of its own, because Celery cannot use a Cluster"
        )
    if settings.duplicate_days and max(len(settings.shards), len(settings.next_shards)) > 1:
        raise SettingsError(
            f"{variable('duplicate_days')}: in a queue of several shards duplicates are not found: each knows its own"
        )
    if settings.next_shards == settings.shards:
        raise SettingsError(
            f"{variable('queue_next_shards')}: {settings.queue_next_shards} is what the queue has already"
        )
