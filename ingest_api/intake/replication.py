"""Checks at the start whether Redis's replicas are set up for LEADS_REDIS_REPLICAS."""

from typing import cast

from redis.exceptions import RedisError

from schema.runtime import logs
from schema.runtime.redis_clients import blocking_redis, replica_client
from schema.runtime.redis_errors import reason_of
from schema.runtime.redis_replicas import Replica, replicas_of
from schema.settings import Settings, SettingsError, variable
from schema.settings.redis_urls import CLUSTER_SCHEME
from schema.settings.shards import Shard

log = logs.get(__name__)


def check_replicas(settings: Settings) -> None:
    """Ask the primary of each shard for its replicas, and each of them for its settings. Blocks.

    Asks nothing without LEADS_REDIS_REPLICAS. Raises SettingsError when leads must be on the replicas' disks and one
    syncs its file less than with each write: it would confirm a second later, and POSTs would be answered with 503.
    What may change by itself, such as a replica that is away, is a warning.
    """
    if settings.redis_replicas:
        for shard in settings.shards + settings.next_shards:
            _check_shard(settings, shard)


def _check_shard(settings: Settings, shard: Shard) -> None:
    client = blocking_redis(shard, timeout=settings.redis_timeout)
    try:
        replicas = replicas_of(client)
    except RedisError as error:
        log.warning("replicas not checked", shard=shard.number, reason=reason_of(error))
        return
    finally:
        client.close()
    if len(replicas) < settings.redis_replicas:
        log.warning(
            "too few replicas: POSTs are answered with 503",
            shard=shard.number,
            wanted=settings.redis_replicas,
            found=len(replicas),
        )
    checked = [_check(settings, shard, replica) for replica in replicas]
    priorities = {each for each in checked if each is not None}
    if len(priorities) > 1 and not shard.url.startswith(CLUSTER_SCHEME):
        # A failover chooses by priority first, so it may promote a replica that has not confirmed the last leads.
        log.warning("replicas differ in replica-priority: a failover may lose leads", priorities=sorted(priorities))


def _check(settings: Settings, shard: Shard, replica: Replica) -> int | None:
    """Check one replica; return its priority, or None when it does not say."""
    client = replica_client(shard, replica, timeout=settings.redis_timeout)
    try:
        sync = cast(dict[str, str], client.config_get("appendfsync", "appendonly"))
        priority = int(cast(dict[str, str], client.config_get("replica-priority"))["replica-priority"])
    except (RedisError, KeyError) as error:
        log.warning("replica not checked", host=replica.host, port=replica.port, reason=type(error).__name__)
        return None
    finally:
        client.close()
    if settings.redis_replicas_in == "disk" and sync != {"appendonly": "yes", "appendfsync": "always"}:
        raise SettingsError(
            f"{variable('redis_replicas_in')}: the replica {replica.host} port {replica.port} runs with appendonly "
            f"{sync.get('appendonly')} and appendfsync {sync.get('appendfsync')}, and has leads on disk too late. "
            "Set yes and always there, or `memory` here"
        )
    return priority
