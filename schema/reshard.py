"""`python -m schema queue`: moves the queue to another number of shards, or to another Redis."""

import time

import click
from redis.exceptions import RedisError

from schema.cli import connected, load_settings
from schema.queue.moving import Moving
from schema.runtime.redis_clients import blocking_shards
from schema.runtime.redis_errors import reason_of
from schema.settings import variable

RESHARD_QUEUE_TIMEOUT = 10.0  # seconds

# Interval (seconds) between two looks at what waits.
LOOK_INTERVAL = 0.5


@click.group()
def queue() -> None:
    """Look after the queue."""


@queue.command()
@click.option("--timeout", default=3600.0, show_default=True, help="Seconds to wait for the workers.")
def reshard(timeout: float) -> None:
    """Move to the queue of LEADS_QUEUE_NEXT_SHARDS, while leads come in. See docs/several-hosts.md.

    API and workers must run with that setting already. It may be run again at any time, and goes on where it was.
    """
    settings = load_settings()
    if not settings.next_shards:
        raise click.ClickException(f"{variable('queue_next_shards')} names no queue to move to")
    shards = blocking_shards(settings, timeout=RESHARD_QUEUE_TIMEOUT)
    present = len(settings.shards)
    moving = Moving(shards[:present], shards[present:], settings)
    try:
        with connected() as connection:
            moving.fence(connection)
            click.echo(f"Leads go to the queue with {_shards(len(settings.next_shards))} from now on.")
            _wait(moving, timeout)
            letters = moving.move_dead_letters()
            # A dead letter may have been replayed into the old queue before it was moved.
            _wait(moving, timeout)
            if not moving.is_fenced():
                raise click.ClickException("a failover has lost the fence: run this again")
            moving.close(connection)
    except RedisError as error:
        raise click.ClickException(f"the queue does not answer: {reason_of(error)}. Run this again") from None
    finally:
        for _, client in shards:
            client.close()
    click.echo(f"Moved: nothing waits in the old queue, {letters} dead letters are in the new one.")
    click.echo(
        f"Now set {variable('redis_url')} and {variable('queue_shards')} to the new queue, leave "
        f"{variable('queue_next_url')} and {variable('queue_next_shards')} out, and restart the API, then beat, Flower "
        "and the workers."
    )


def _wait(moving: Moving, timeout: float) -> None:
    """Wait until the workers have emptied the old queue, and say how far they are."""
    deadline = time.monotonic() + timeout
    said = 0
    while waiting := moving.waiting():
        if time.monotonic() > deadline:
            raise click.ClickException(f"{waiting} leads still wait in the old queue: run this again. Do workers run?")
        if waiting != said:
            click.echo(f"{waiting} wait in the old queue.")
            said = waiting
        time.sleep(LOOK_INTERVAL)


def _shards(number: int) -> str:
    return f"{number} shard{'s' if number > 1 else ''}"
