"""Preflight: checks and preparations before the first process starts. A failed one raises CannotStart."""

import fcntl
import os
import stat
import time
from pathlib import Path
from typing import IO, Any, cast

from marshmallow import ValidationError
from redis.exceptions import RedisError, ResponseError
from sqlalchemy.exc import SQLAlchemyError

from ingest_api.auth import keys, users
from ingest_api.auth.users import UserError
from ingest_api.server import listeners
from schema.audit import trail
from schema.audit.event import Action, user_id
from schema.database import engines
from schema.database.errors import reason_of
from schema.database.migrations.runner import MigrationFailed, migrate
from schema.runtime.redis_clients import blocking_broker, blocking_redis
from schema.settings import WELL_KNOWN_PASSWORD, Settings, SettingsError, is_loopback, variable
from schema.settings.shards import Shard

TEST_USER = "test@example.com"

# Required settings of Redis: an answered write is on disk (fsync), and a full Redis refuses writes instead of evicting.
DURABLE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}

# Longest wait (seconds) for processes of the previous run to release a port or the data dir.
RELEASE_TIMEOUT = 5.0

# Timeout (seconds) of the check of LEADS_REDIS_URL.
REDIS_TIMEOUT = 5.0


class CannotStart(Exception):
    """The service cannot start; the message is one line that says why."""


def take_data_dir(settings: Settings) -> IO[str]:
    """Make the data dir and lock it for this run. The lock lasts as long as the returned file is open.

    From here on only this user can read what this process and its children write, and what is in the data dir.
    Blocks for at most RELEASE_TIMEOUT. Raises CannotStart when it is not writable or of others, or another run has the
    lock.
    """
    path = settings.data_dir
    name = variable("data_dir")
    os.umask(0o077)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if path.stat().st_mode & stat.S_ISVTX:
            raise CannotStart(f"{name}: {path} is for all users of the machine; name a directory in it")
        path.chmod(0o700)
        for part in ("redis", "logs", "beat", "flower"):
            (path / part).mkdir(exist_ok=True)
        if not settings.redis_socket.is_relative_to(path):
            _make_socket_dir(settings.redis_socket.parent)
        lock = (path / "lock").open("a+")
    except OSError as error:
        raise CannotStart(f"{name}: cannot write to {path}: {error.strerror}") from None
    deadline = time.monotonic() + RELEASE_TIMEOUT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise CannotStart(f"{name}: {path} is in use by another run") from None
            time.sleep(0.1)
    return lock


def _make_socket_dir(path: Path) -> None:
    """Make the directory of the embedded queue's socket. Raises CannotStart when it is another user's."""
    path.mkdir(exist_ok=True)
    found = path.lstat()
    # Its name under the temporary dir can be guessed, so that somebody else may have made it.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise CannotStart(f"{path} is not this user's alone: remove it, or set a shorter {variable('data_dir')}")


def check_ports(settings: Settings) -> None:
    """Check that both ports are free, waiting at most RELEASE_TIMEOUT for each.

    Raises CannotStart when one is in use or its address is not of this machine.
    """
    for host, port, name in (
        (settings.http_host, settings.http_port, "http_port"),
        (settings.flower_host, settings.flower_port, "flower_port"),
    ):
        _check_port(host, port, variable(name))


def _check_port(host: str, port: int, name: str) -> None:
    try:
        listeners.check_free(host, port, RELEASE_TIMEOUT)
    except OSError as error:
        raise CannotStart(f"{name}: cannot listen on {host} port {port}: {error.strerror}") from None


def check_queue(settings: Settings) -> str:
    """Check the settings of the queue's servers; return a warning of one line when one may lose leads, else "".

    Raises CannotStart when none answers, or the broker does not. Of several shards one may be failing over.
    """
    if settings.embedded_redis:
        return ""
    warnings: list[str] = []
    failures: list[RedisError] = []
    for shard in settings.shards:
        try:
            warnings.append(_check_server(shard))
        except RedisError as error:
            failures.append(error)
    if not warnings:
        raise CannotStart(_no_answer("redis_url", failures[0]))
    if settings.tickets_url != settings.queue_url:
        broker = blocking_broker(settings, timeout=REDIS_TIMEOUT)
        try:
            broker.ping()
        except RedisError as error:
            raise CannotStart(_no_answer("broker_url", error)) from None
        finally:
            broker.close()
    if failures:
        warnings.append(f"{len(failures)} of {len(settings.shards)} shards of the queue do not answer")
    return next(filter(None, warnings), "")


def _check_server(shard: Shard) -> str:
    """Check the server that has a shard; return a warning of one line or "". Raises RedisError."""
    client = blocking_redis(shard, timeout=REDIS_TIMEOUT)
    try:
        client.ping()
        found: dict[Any, Any] = {}
        for name in DURABLE:
            found |= cast(dict[Any, Any], client.config_get(name))
    except ResponseError:
        return "Redis does not say how it keeps its data: see docs/reliability.md"
    finally:
        client.close()
    wrong = [name for name, value in DURABLE.items() if found.get(name) != value]
    if not wrong:
        return ""
    said = " and ".join(f"{name} {found.get(name)}" for name in wrong)
    needed = " and ".join(f"{name} {DURABLE[name]}" for name in wrong)
    return f"Redis runs with {said}: accepted leads can be lost. Set {needed}."


def _no_answer(name: str, error: RedisError) -> str:
    return f"{variable(name)}: the server does not answer: {type(error).__name__}"


def prepare_keys(settings: Settings) -> None:
    """Make the token keys if there are none, and check them.

    Raises CannotStart.
    """
    try:
        keys.ensure(settings)
    except SettingsError as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"cannot make the token keys: {error.strerror}") from None


def prepare_database(settings: Settings, *, before: bool = False) -> bool:
    """Migrate the tables, and make the first user when there is none.

    With `before`, migrations that must run after the new code are left out. The first user is
    LEADS_FIRST_USER if LEADS_FIRST_PASSWORD is set, else the test user if the API listens on
    loopback. Returns whether the test user can log in with the well-known password.

    Raises CannotStart when the database refuses, the user is not valid, or the test user could log
    in from other machines.
    """
    loopback = is_loopback(settings.http_host)
    engine = engines.writer(settings.primary_url, timeout=settings.database_timeout)
    try:
        migrate(settings.primary_url, before=before)
        with engine.begin() as connection:
            if users.count(connection) == 0:
                if settings.first_password:
                    users.create(connection, settings.first_user, settings.first_password, list(users.ROLES))
                    trail.record(connection, Action.USER_CREATED, subject=user_id(settings.first_user))
                elif loopback:
                    users.create(connection, TEST_USER, WELL_KNOWN_PASSWORD, ["export", "ingest", "read"])
                    trail.record(connection, Action.USER_CREATED, subject=user_id(TEST_USER))
            test_user = users.authenticate(connection, TEST_USER, WELL_KNOWN_PASSWORD) is not None
    except MigrationFailed as error:
        raise CannotStart(f"{variable('database_url')}: {error}") from None
    except SQLAlchemyError as error:
        raise CannotStart(f"{variable('database_url')}: the database refused: {reason_of(error)}") from None
    except (UserError, ValidationError) as error:
        raise CannotStart(f"{variable('first_user')} or {variable('first_password')}: {_in_one_line(error)}") from None
    finally:
        engine.dispose()
    if test_user and not loopback:
        raise CannotStart(
            f"{variable('http_host')}: {settings.http_host} lets others log in as {TEST_USER} with the well-known "
            f"password. Change it first: python -m ingest_api user passwd {TEST_USER}"
        )
    return test_user


def _in_one_line(error: Exception) -> str:
    return " ".join(map(str, error.messages)) if isinstance(error, ValidationError) else str(error)


def remove_stale_socket(settings: Settings) -> None:
    """Remove the embedded queue's socket, which a killed run leaves behind."""
    if settings.embedded_redis:
        settings.redis_socket.unlink(missing_ok=True)
