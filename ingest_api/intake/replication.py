"""Checks at the start whether Redis's replicas are set up for LEADS_REDIS_REPLICAS."""

from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.exceptions import RedisError

from schema.runtime import logs
from schema.runtime.redis_clients import blocking_redis
from schema.settings import Settings, SettingsError, variable

log = logs.get(__name__)


def check_replicas(settings: Settings) -> None:
    """Ask the primary for its replicas, and each of them for its settings. Blocks; asks nothing without replicas.

    Raises SettingsError when leads must be on the replicas' disks and one syncs its file less than with each write:
    it would confirm a second later, and POSTs would be answered with 503. What may change by itself, such as a
    replica that is away, is a warning.
    """
    if not settings.redis_replicas:
        return
    client = blocking_redis(settings, timeout=settings.redis_timeout)
    try:
        found = client.info("replication")
    except RedisError as error:
        log.warning("replicas not checked", reason=type(error).__name__)
        return
    finally:
        client.close()
    replicas = [each for name, each in found.items() if name.startswith("slave") and isinstance(each, dict)]
    if len(replicas) < settings.redis_replicas:
        log.warning(
            "too few replicas: POSTs are answered with 503", wanted=settings.redis_replicas, found=len(replicas)
        )
    priorities = {priority for each in replicas if (priority := _check(settings, each["ip"], each["port"])) is not None}
    if len(priorities) > 1:
        # A failover chooses by priority first, so it may promote a replica that has not confirmed the last leads.
        log.warning("replicas differ in replica-priority: a failover may lose leads", priorities=sorted(priorities))


def _check(settings: Settings, host: str, port: int) -> int | None:
    """Check one replica; return its priority, or None when it does not say."""
    client = _client_of(settings, host, port)
    try:
        sync = cast(dict[str, str], client.config_get("appendfsync", "appendonly"))
        priority = int(cast(dict[str, str], client.config_get("replica-priority"))["replica-priority"])
    except (RedisError, KeyError) as error:
        log.warning("replica not checked", host=host, port=port, reason=type(error).__name__)
        return None
    finally:
        client.close()
    if settings.redis_replicas_in == "disk" and sync != {"appendonly": "yes", "appendfsync": "always"}:
        raise SettingsError(
            f"{variable('redis_replicas_in')}: the replica {host} port {port} runs with appendonly "
            f"{sync.get('appendonly')} and appendfsync {sync.get('appendfsync')}, and has leads on disk too late. "
            "Set yes and always there, or `memory` here"
        )
    return priority


def _client_of(settings: Settings, host: str, port: int) -> redis.Redis:
    """Make a client of another server with the primary's credentials."""
    options: dict[str, Any] = {
        "socket_timeout": settings.redis_timeout,
        "socket_connect_timeout": settings.redis_timeout,
        "decode_responses": True,
    }
    if settings.sentinel:
        found = settings.sentinel
        return redis.Redis(host, port, username=found.username or None, password=found.password or None, **options)
    url = urlsplit(settings.queue_url)
    credentials, at, _ = url.netloc.rpartition("@")
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if url.scheme == "unix":
        url = url._replace(scheme="redis", path="")
    return redis.Redis.from_url(urlunsplit(url._replace(netloc=f"{credentials}{at}{place}")), **options)
