"""The database: which one it is, and its engines."""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

# Longest wait for another writer's transaction on SQLite, which has one writer at a time.
SQLITE_BUSY_SECONDS = 10

# Longest wait for a connection where no setting says another one.
CONNECT_SECONDS = 10.0

# Recycle connections before the server's wait_timeout (8 hours by default) or a proxy's closes them.
RECYCLE_SECONDS = 600

# The isolation level at which all statements of a transaction see one moment; SQLite's only one does as well.
SNAPSHOT = "REPEATABLE READ"

# Errors rather than guesses. MySQL warns of strict modes without those of dates and of division.
SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


class Product(enum.Enum):
    """The databases that the leads can be in. The value is what people call them."""

    SQLITE = "SQLite"
    MYSQL = "MySQL"
    MARIADB = "MariaDB"


def product_of(connection: Connection) -> Product:
    """Tell which database a connection leads to: MySQL and MariaDB have one driver and differ in their SQL."""
    if connection.dialect.name == "sqlite":
        return Product.SQLITE
    return Product.MARIADB if getattr(connection.dialect, "is_mariadb", False) else Product.MYSQL


def writer(url: str, *, timeout: float, pool_size: int = 1) -> Engine:
    """Make an engine for transactions that write. Connects at first use, never here.

    `timeout` (seconds) bounds the connecting and every answer. Make it after a fork, never before.
    """
    if make_url(url).drivername.startswith("sqlite"):
        return _sqlite(url, begin="BEGIN IMMEDIATE", pool_size=pool_size, timeout=timeout)
    # READ COMMITTED: a look for rows that exist sees those another worker has just committed.
    return _mysql(url, pool_size=pool_size, timeout=timeout, isolation_level="READ COMMITTED")


def reader(url: str, *, timeout: float, pool_size: int) -> Engine:
    """Make an engine for reading. Connects at first use. Several statements need a `snapshot`.

    A connection that the server has closed meanwhile is not found out before it is used:
    who reads must be ready to try again.
    """
    if make_url(url).drivername.startswith("sqlite"):
        return _sqlite(url, begin="BEGIN", pool_size=pool_size, timeout=timeout)
    return _mysql(
        url,
        pool_size=pool_size,
        timeout=timeout,
        ask_first=False,
        # One statement alone needs no transaction, and no ROLLBACK to end it: that is one round trip instead of two.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )


def migrator(url: str) -> Engine:
    """Make an engine for DDL: on MySQL and MariaDB it waits for an answer as long as a table takes to be copied."""
    if make_url(url).drivername.startswith("sqlite"):
        return _sqlite(url, begin="BEGIN IMMEDIATE", pool_size=1, timeout=CONNECT_SECONDS)
    return _mysql(url, pool_size=1, timeout=CONNECT_SECONDS, patient=True, isolation_level="READ COMMITTED")


@contextmanager
def snapshot(connection: Connection) -> Iterator[Connection]:
    """Let all statements within the block, on a connection of a reader, see the counts and the rows of one moment."""
    if connection.dialect.name == "sqlite":
        # Its transaction began with the first statement, and each sees one moment.
        yield connection
        return
    connection.exec_driver_sql("START TRANSACTION READ ONLY")
    try:
        yield connection
    finally:
        # On a connection that is lost there is nothing to end.
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
    return create_engine(
        # Without the prefix MySQL warns of each BINARY value that is not UTF-8.
        make_url(url).update_query_dict({"charset": "utf8mb4", "binary_prefix": "true"}),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout,
        pool_pre_ping=ask_first,
        pool_recycle=RECYCLE_SECONDS,
        # Parameters by place, so that a batch of rows goes to the driver as it is.
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
        # The driver's own BEGIN comes too late: we send it.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        # A lead leaves the queue when its row is committed, so the row must be on disk by then.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
