"""Bento: where its program is, and what its configurations need of the environment. See README.md."""

import shutil
from pathlib import Path

import redis
from redis.exceptions import ResponseError
from sqlalchemy import make_url

# The stream, and its consumer group, of intake.yaml and store.yaml.
STREAM = "bento"

NOT_INSTALLED = "bento is not on PATH (loadtests/peers/bento/README.md)"


def is_installed() -> bool:
    """Tell whether there is a program `bento`."""
    return shutil.which("bento") is not None


def command(configuration: str) -> list[str]:
    """Return the command line that runs a configuration, by its name without `.yaml`."""
    return ["bento", "-c", str(Path(__file__).with_name(f"{configuration}.yaml"))]


def environment(*, address: str, redis_url: str, database_url: str) -> dict[str, str]:
    """Return what the configurations need: the listener's address, and where Redis and the database are."""
    database = make_url(database_url)
    place = f"{database.username}:{database.password}@tcp({database.host}:{database.port})"
    return {
        "BENTO_ADDRESS": address,
        "BENTO_REDIS": redis_url,
        # Without interpolateParams each INSERT is prepared first, which takes a round trip more.
        "BENTO_DSN": f"{place}/{database.database}?interpolateParams=true",
    }


def waiting(client: redis.Redis) -> int:
    """Return how many entries of the stream are not acknowledged; 0 when there is no stream yet."""
    try:
        (group,) = client.xinfo_groups(STREAM)
    except ResponseError:
        return 0
    return int(group["lag"]) + int(group["pending"])
