"""The database: which one it is, engines, and what its errors mean."""

import enum
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymysql.converters import conversions
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from schema.lead_row import Literals

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

# What PyMySQL knows to write and to read, and rows that are written already.
_CONVERSIONS = {**conversions, Literals: lambda literals, _: literals.text}


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


class Reaction(enum.Enum):
    """What an error of the database calls for."""

    DUPLICATE = "duplicate"  # a key is there already: look which, insert the rest
    AGAIN = "again"  # the server gave up this transaction in favour of another: run it again at once
    POISON = "poison"  # a row cannot be stored, whoever tries
    AWAY = "away"  # no database that takes writes: keep everything, try later
    UNKNOWN = "unknown"  # anything else


# Numbers from MySQL's server error reference and MariaDB's; 4025 is MariaDB's failed CHECK.
_DUPLICATE = {1062, 1586}
# 1305: no such savepoint, since the transaction it was in is gone (1213 in a nested one).
_AGAIN = {1205, 1213, 1305}
_POISON = {
    *(1048, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1452, 1525, 1644, 1690),
    *(3140, 3819, 4025),
}
# Client errors: no connection, connection lost, packet out of order.
_AWAY = {0, 2002, 2003, 2005, 2006, 2013, 2014, 2026, 2027, 2055}
# Too many connections, shutdown, disk or table full, no rights, no such database or table yet, interrupted,
# read-only, a required primary gone.
_AWAY |= {1021, 1036, 1040, 1041, 1044, 1045, 1049, 1053, 1114, 1129, 1142, 1146, 1152, 1158, 1159, 1160, 1161}
# A failing disk or memory of the server, a lock on all of it, a cluster without a quorum, tables older than this code.
_AWAY |= {1026, 1028, 1030, 1037, 1038, 1047, 1054, 1130, 1135, 1180, 1206, 1223, 1698, 1815, 4151}
_AWAY |= {1184, 1203, 1226, 1290, 1317, 1792, 1836, 1927, 1969, 3024, 3100, 3168, 4031}


def reaction_to(error: BaseException) -> Reaction:
    """Tell what `error`, raised by a statement or by connecting, calls for."""
    if isinstance(error, PoolTimeout):
        return Reaction.AWAY
    if not isinstance(error, DBAPIError):
        return Reaction.POISON if _is_unencodable(error) else Reaction.UNKNOWN
    cause = error.orig
    if error.connection_invalidated:
        return Reaction.AWAY
    if isinstance(cause, sqlite3.Error):
        return _reaction_to_sqlite(cause)
    if cause is not None and _is_unencodable(cause):
        return Reaction.POISON
    code = cause.args[0] if cause is not None and cause.args else None
    for codes, reaction in (
        (_DUPLICATE, Reaction.DUPLICATE),
        (_AGAIN, Reaction.AGAIN),
        (_POISON, Reaction.POISON),
        (_AWAY, Reaction.AWAY),
    ):
        if code in codes:
            return reaction
    return Reaction.UNKNOWN


def _is_unencodable(error: BaseException) -> bool:
    return isinstance(error, UnicodeError)


def _reaction_to_sqlite(error: sqlite3.Error) -> Reaction:
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE):
        return Reaction.DUPLICATE
    # The low byte is the error's class: https://sqlite.org/rescode.html
    match code and code & 0xFF:
        case sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH | sqlite3.SQLITE_TOOBIG:
            return Reaction.POISON
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Reaction.AGAIN
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN:
            return Reaction.AWAY
    if "no such table" in str(error):
        return Reaction.AWAY
    return Reaction.UNKNOWN


def reason_of(error: BaseException) -> str:
    """Name an error without any value of the row it speaks of: class and code, for logs and dead letters."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(cause, "sqlite_errorname", None) or (cause.args[0] if cause.args else "")
    known = isinstance(code, int) or (isinstance(code, str) and code.startswith("SQLITE_"))
    return f"{type(cause).__name__} {code}" if known else type(cause).__name__


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
            "conv": _CONVERSIONS,
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


__all__ = [
    "Engine",
    "Product",
    "Reaction",
    "SQLAlchemyError",
    "migrator",
    "reaction_to",
    "reader",
    "reason_of",
    "snapshot",
    "writer",
]
