"""What must be right before the first process starts: each check ends in one clear line, or in nothing."""

import errno
import fcntl
import socket
import time
from typing import IO, Any

from redis.exceptions import RedisError, ResponseError
from sqlalchemy.exc import SQLAlchemyError

from ingest_api import keys, users
from schema import database
from schema.connections import blocking_redis
from schema.database import reason_of
from schema.settings import Settings, SettingsError, variable

TEST_USER = "test@example.com"
TEST_PASSWORD = "password123"

# Seconds that a process of the run before may take to let go of its port or of the data dir.
PATIENCE = 5.0

LOOPBACK = ("127.", "::1", "localhost")


class CannotStart(Exception):
    """The service cannot start; the message is one line that says why."""


def take_data_dir(settings: Settings) -> IO[str]:
    """Make the data dir and hold it for this run: the lock lasts as long as the file returned is open.

    Raises CannotStart.
    """
    path = settings.data_dir
    name = variable("data_dir")
    try:
        for part in ("redis", "logs", "beat"):
            (path / part).mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("a+")
    except OSError as error:
        raise CannotStart(f"{name}: cannot write to {path}: {error.strerror}") from None
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise CannotStart(f"{name}: {path} is in use by another run") from None
            time.sleep(0.1)
    return lock


def check_ports(settings: Settings) -> None:
    """Raise CannotStart when a port is taken or its address is not of this machine."""
    for host, port, name in (
        (settings.http_host, settings.http_port, "http_port"),
        (settings.flower_host, settings.flower_port, "flower_port"),
    ):
        _check_port(host, port, variable(name))


def _check_port(host: str, port: int, name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise CannotStart(f"{name}: cannot listen on {host} port {port}: {error.strerror}") from None
            time.sleep(0.2)


def check_queue(settings: Settings) -> str:
    """Look at the Redis that was given; return a warning when it does not keep what it is given, or "".

    Raises CannotStart when it does not answer.
    """
    if settings.embedded_redis:
        return ""
    client = blocking_redis(settings, timeout=PATIENCE)
    try:
        client.ping()
        kept: dict[Any, Any] = {**client.config_get("appendonly"), **client.config_get("appendfsync")}
    except ResponseError:
        return "Redis does not say how it keeps its data: see docs/reliability.md"
    except RedisError as error:
        raise CannotStart(f"{variable('redis_url')}: the server does not answer: {type(error).__name__}") from None
    finally:
        client.close()
    if kept == {"appendonly": "yes", "appendfsync": "always"}:
        return ""
    return (
        f"Redis runs with appendonly {kept.get('appendonly')} and appendfsync {kept.get('appendfsync')}: "
        "when it is killed, accepted leads can be lost. Set appendonly yes and appendfsync always."
    )


def prepare_keys(settings: Settings) -> None:
    """Make the token keys if there are none.

    Raises CannotStart.
    """
    try:
        keys.ensure(settings)
    except SettingsError as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"cannot make the token keys: {error.strerror}") from None


def prepare_database(settings: Settings) -> bool:
    """Bring the tables up to date; make the test user when there is no user yet and only this machine can reach us.

    Returns whether the well-known test user can log in. Raises CannotStart.
    """
    engine = database.writer(settings.primary_url, timeout=settings.database_timeout)
    try:
        database.migrate(settings.primary_url)
        with engine.begin() as connection:
            if users.count(connection) == 0 and settings.http_host.startswith(LOOPBACK):
                users.create(connection, TEST_USER, TEST_PASSWORD, ["ingest", "read"])
            return users.authenticate(connection, TEST_USER, TEST_PASSWORD) is not None
    except SQLAlchemyError as error:
        raise CannotStart(f"{variable('database_url')}: the database refused: {reason_of(error)}") from None
    finally:
        engine.dispose()


def remove_stale_socket(settings: Settings) -> None:
    """Remove the embedded queue's socket that a killed run left behind."""
    if settings.embedded_redis:
        settings.redis_socket.unlink(missing_ok=True)
