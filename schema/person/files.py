"""Makes the files forget what was erased: Redis's append-only file, and SQLite's database with its log."""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import ResponseError
from sqlalchemy import Connection

from schema.runtime.redis_clients import ShardClient, replica_client
from schema.runtime.redis_replicas import replicas_of

# Longest wait (seconds) for Redis to write its file anew, and for readers of SQLite to let go of its log.
REWRITE_TIMEOUT = 600.0
CHECKPOINT_TIMEOUT = 60.0

# Longest wait (seconds) for one answer of a replica of Redis.
REPLICA_ANSWER_TIMEOUT = 5.0

_PAUSE = 0.1


class FilesKept(Exception):
    """A file may still hold erased data; the message is one line that says which, and what to do."""


def overwrite_deleted(connection: Connection) -> None:
    """Let SQLite write zeros over what this connection deletes. Call it outside of a transaction."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
        connection.rollback()


def rewrite_queue(shards: Sequence[ShardClient], timeout: float = REWRITE_TIMEOUT) -> None:
    """Let Redis write its append-only files anew, those of replicas too, and wait for it.

    Raises FilesKept when one refuses or takes longer than `timeout` seconds, and RedisError.
    """
    deadline = time.monotonic() + timeout
    for shard, client in shards:
        _rewrite(client, deadline)
        for replica in replicas_of(client):
            of_replica = replica_client(shard, replica, timeout=REPLICA_ANSWER_TIMEOUT)
            try:
                _rewrite(of_replica, deadline)
            finally:
                of_replica.close()


def _rewrite(client: redis.Redis, deadline: float) -> None:
    """Let one server write its append-only file anew. Does nothing when it keeps none."""
    try:
        if not _state(client)["aof_enabled"]:
            return
        # One that runs already may have begun before the erasure.
        _wait(client, deadline)
        # Redis answers that with an error when it has just begun one by itself: later than the erasure.
        with suppress(_AlreadyRunning):
            _begin(client)
        _wait(client, deadline)
    except ResponseError:
        raise FilesKept(
            "Redis does not allow its append-only file to be rewritten, and until then it may hold erased data: "
            "run BGREWRITEAOF as its administrator"
        ) from None
    if _state(client)["aof_last_bgrewrite_status"] != "ok":
        raise FilesKept("Redis could not rewrite its append-only file, see its log: it may hold erased data until then")


class _AlreadyRunning(Exception):
    pass


def _begin(client: Any) -> None:
    try:
        client.bgrewriteaof()
    except ResponseError as error:
        if "already in progress" in str(error):
            raise _AlreadyRunning from None
        raise


def _state(client: Any) -> dict[str, Any]:
    return dict(client.info("persistence"))


def _wait(client: Any, deadline: float) -> None:
    while True:
        state = _state(client)
        if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
            return
        if time.monotonic() > deadline:
            raise FilesKept(
                "Redis is still rewriting its append-only file, which may hold erased data until it is done: "
                "see redis-cli info persistence"
            )
        time.sleep(_PAUSE)


def compact_sqlite(connection: Connection, timeout: float = CHECKPOINT_TIMEOUT) -> None:
    """Write SQLite's file anew without free space, and empty its log. Does nothing on other databases.

    The connection must be in no transaction. Raises FilesKept when others keep the file or its log busy for longer
    than `timeout` seconds.
    """
    if connection.dialect.name != "sqlite":
        return
    deadline = time.monotonic() + timeout
    connection.rollback()
    # The driver's own cursor: neither statement may run in a transaction, which SQLAlchemy would begin.
    cursor: Any = connection.connection.cursor()
    for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
        while not _runs(cursor, statement):
            if time.monotonic() > deadline:
                raise FilesKept("others keep the database busy, whose file may still hold erased data: run this again")
            time.sleep(_PAUSE)
    cursor.close()


def _runs(cursor: Any, statement: str) -> bool:
    """Tell whether SQLite ran a statement, and was not kept from it by other connections."""
    try:
        cursor.execute(statement)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return False
        raise FilesKept(
            f"SQLite did not write its file anew ({error.sqlite_errorname}): it may hold erased data"
        ) from None
    # A checkpoint answers whether it was kept from it.
    row = cursor.fetchone()
    return row is None or not row[0]
