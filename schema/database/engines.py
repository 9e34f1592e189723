"""Database engines for writing, reading and migrations, and the product behind a connection."""

import enum
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext, make_url

from schema.database.errors import is_from_wrong_server

# Longest wait for another writer's transaction on SQLite, which allows one writer at a time.
SQLITE_BUSY_SECONDS = 10

# Pause (seconds) before a refused switch to the write-ahead log is tried again.
SQLITE_RETRY_SECONDS = 0.02

# Connect timeout of migrations, which no setting bounds.
CONNECT_SECONDS = 10.0

# Age at which connections are recycled, before the server's wait_timeout (8 hours by default) or a proxy closes them.
RECYCLE_SECONDS = 600

# Isolation level at which all statements of a transaction see one snapshot. SQLite's only level does so, too.
SNAPSHOT = "REPEATABLE READ"

# Strict: errors instead of adjusted values. MySQL warns if strict mode lacks the modes of dates and of division.
SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


class Product(enum.Enum):
    """The supported databases. The value is the name for people."""

    SQLITE = "SQLite"
    MYSQL = "MySQL"
    MARIADB = "MariaDB"


def product_of(connection: Connection) -> Product:
    """Tell which database a connection leads to. MySQL and MariaDB share a driver, but differ in SQL."""
    if connection.dialect.name == "sqlite":
        return Product.SQLITE
    return Product.MARIADB if getattr(connection.dialect, "is_mariadb", False) else Product.MYSQL


def writer(url: str, *, timeout: float, pool_size: int = 1) -> Engine:
    """Make an engine for transactions that write. Call it after the fork; connects at first use.

    `timeout` (seconds) bounds the connecting, every answer and the wait for a pooled connection.
    """
    if make_url(url).drivername.startswith("sqlite"):
        return _sqlite(url, begin="BEGIN IMMEDIATE", pool_size=pool_size, timeout=timeout)
    # READ COMMITTED: the search for existing rows must see what another worker has just committed.
    return _mysql(url, pool_size=pool_size, timeout=timeout, isolation_level="READ COMMITTED")


def reader(url: str, *, timeout: float, pool_size: int) -> Engine:
    """Make an engine for reading. Connects at first use. Several statements need a `snapshot`.

    There is no pre-ping: the caller must retry when a pooled connection turns out to be closed.
    """
    if make_url(url).drivername.startswith("sqlite"):
        return _sqlite(url, begin="BEGIN", pool_size=pool_size, timeout=timeout)
    return _mysql(
        url,
        pool_size=pool_size,
        timeout=timeout,
        ask_first=False,
        # A single statement needs no transaction and no ROLLBACK after it: one round trip instead of two.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )


def migrator(url: str) -> Engine:
    """Make an engine for DDL. On MySQL and MariaDB it waits for an answer without a timeout: DDL may copy a table."""
    if make_url(url).drivername.startswith("sqlite"):
        return _sqlite(url, begin="BEGIN IMMEDIATE", pool_size=1, timeout=CONNECT_SECONDS)
    return _mysql(url, pool_size=1, timeout=CONNECT_SECONDS, patient=True, isolation_level="READ COMMITTED")


@contextmanager
def snapshot(connection: Connection) -> Iterator[Connection]:
    """Run all statements of the block in one read-only snapshot. `connection` must be a reader's."""
    if connection.dialect.name == "sqlite":
        # The first statement begins a transaction, and on SQLite each is a snapshot.
        yield connection
        return
    connection.exec_driver_sql("START TRANSACTION READ ONLY")
    try:
        yield connection
    finally:
        # A lost connection has no transaction to end.
        if not connection.invalidated:
            connection.exec_driver_sql("COMMIT")


def _mysql(
    url: str,
    *,
    pool_size: int,
    timeout: float,
    patient: bool = False,
    ask_first: bool = True,
    **options: Any,
) -> Engine:
    answer_timeout = None if patient else timeout
    engine = create_engine(
        # Without the prefix MySQL warns about each BINARY value that is not UTF-8.
        make_url(url).update_query_dict({"charset": "utf8mb4", "binary_prefix": "true"}),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout,
        pool_pre_ping=ask_first,
        pool_recycle=RECYCLE_SECONDS,
        # Positional parameters, so that a batch of rows is passed to the driver unchanged.
        paramstyle="format",
        hide_parameters=True,
        connect_args={
            "connect_timeout": timeout,
            "read_timeout": answer_timeout,
            "write_timeout": answer_timeout,
            "init_command": f"SET time_zone = '+00:00', sql_mode = '{SQL_MODE}'",
        },
        **options,
    )

    @event.listens_for(engine, "handle_error")
    def _leave_wrong_server(context: ExceptionContext) -> None:
        # After a failover behind one address a demoted server lives on, and answers a ping. SQLAlchemy closes this
        # connection and, when they are next asked for, all others of the pool that are as old.
        if is_from_wrong_server(context.original_exception):
            context.is_disconnect = True

    return engine


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Turn it on. While others turn it on for a new file SQLite refuses that at once, whatever its busy timeout."""
    given_up = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > given_up:
                raise
            time.sleep(SQLITE_RETRY_SECONDS)
        else:
            return


def _sqlite(url: str, *, begin: str, pool_size: int, timeout: float) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout,
        hide_parameters=True,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        # Turns off the driver's implicit BEGIN, which it sends only before the first write.
        connection.isolation_level = None
        cursor = connection.cursor()
        _use_write_ahead_log(cursor)
        # fsync at each COMMIT: a lead leaves the queue once its row is committed.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
