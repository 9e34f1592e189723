"""Classifies errors of the database by the reaction they call for."""

import enum
import re
import sqlite3

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Reaction(enum.Enum):
    """What an error of the database calls for."""

    DUPLICATE = "duplicate"  # a key exists already: find out which, insert the rest
    RETRY = "retry"  # deadlock, lock timeout or conflict of two members: run the transaction again at once
    REJECT_ROW = "reject row"  # this row can never be stored
    UNAVAILABLE = "unavailable"  # no writable database: keep everything, try later
    UNKNOWN = "unknown"  # anything else


# Codes from MySQL's, MariaDB's and TiDB's error references; 4025 is MariaDB's failed CHECK.
_DUPLICATE = {1062, 1586}
# 1305: no such savepoint, because a deadlock (1213) in a nested transaction has rolled back the outer one. 3101: the
# group refused it at COMMIT. TiDB: a conflict of two writers, a table that has just changed.
_RETRY = {1205, 1213, 1305, 3101} | {8002, 8022, 8028, 9007}

# COMMIT failed. Group Replication tells the loser of a conflict so, with the storage engine's error 149.
COMMIT_FAILED = 1180
_CONFLICT_AT_COMMIT = re.compile(r"error 149\b")

# The connection leads to a server that takes no writes (now): read-only, a member that has left its group or is about
# to (3100, 3783, 3796, 3799), offline as one that was expelled (3032, 6400), a cluster without quorum (1047).
WRONG_SERVER = {1047, 1290, 1792, 1836, 3100} | {3032, 3783, 3796, 3799, 6400}
_REJECT_ROW = {
    *(1048, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1452, 1525, 1644, 1690),
    *(3140, 3819, 4025),
}
# Client errors: no connection, connection lost, packet out of order.
_UNAVAILABLE = {0, 2002, 2003, 2005, 2006, 2013, 2014, 2026, 2027, 2055}
# Too many connections, shutdown, disk or table full, missing privileges, no such database or table yet, interrupted,
# read-only, primary lost.
_UNAVAILABLE |= {1021, 1036, 1040, 1041, 1044, 1045, 1049, 1053, 1114, 1129, 1142, 1146, 1152, 1158, 1159, 1160, 1161}
# Disk or memory failure of the server, global lock, cluster without quorum, tables older than this code.
_UNAVAILABLE |= {1026, 1028, 1030, 1037, 1038, 1054, 1130, 1135, 1206, 1223, 1698, 1815, 4151}
_UNAVAILABLE |= {1184, 1203, 1226, 1317, 1927, 1969, 3024, 3168, 4031} | {COMMIT_FAILED} | WRONG_SERVER
# Group Replication: a new primary that still applies what the former one had, and a change of the primary.
_UNAVAILABLE |= {3169, 3781, 3782, 3797, 3798, 4094, 6141}
# TiDB: its storage or its clock does not answer.
_UNAVAILABLE |= {9001, 9002, 9003, 9004, 9005}


def reaction_to(error: BaseException) -> Reaction:
    """Tell what `error`, raised by a statement or by connecting, calls for."""
    if isinstance(error, PoolTimeout):
        return Reaction.UNAVAILABLE
    if not isinstance(error, DBAPIError):
        return Reaction.REJECT_ROW if _is_unencodable(error) else Reaction.UNKNOWN
    cause = error.orig
    if error.connection_invalidated:
        return Reaction.UNAVAILABLE
    if isinstance(cause, sqlite3.Error):
        return _reaction_to_sqlite(cause)
    if cause is not None and _is_unencodable(cause):
        return Reaction.REJECT_ROW
    code = _code_of(cause)
    if code == COMMIT_FAILED and _CONFLICT_AT_COMMIT.search(str(cause)):
        return Reaction.RETRY
    for codes, reaction in (
        (_DUPLICATE, Reaction.DUPLICATE),
        (_RETRY, Reaction.RETRY),
        (_REJECT_ROW, Reaction.REJECT_ROW),
        (_UNAVAILABLE, Reaction.UNAVAILABLE),
    ):
        if code in codes:
            return reaction
    return Reaction.UNKNOWN


def is_from_wrong_server(error: BaseException) -> bool:
    """Tell whether a driver's error says that its connection leads to a server that takes no writes."""
    return _code_of(error) in WRONG_SERVER


def _code_of(error: BaseException | None) -> object:
    return error.args[0] if error is not None and error.args else None


def _is_unencodable(error: BaseException) -> bool:
    return isinstance(error, UnicodeError)


def _reaction_to_sqlite(error: sqlite3.Error) -> Reaction:
    code = getattr(error, "sqlite_errorcode", None)
    if code in (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE):
        return Reaction.DUPLICATE
    # The low byte is the error's class: https://sqlite.org/rescode.html
    match code and code & 0xFF:
        case sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH | sqlite3.SQLITE_TOOBIG:
            return Reaction.REJECT_ROW
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Reaction.RETRY
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN:
            return Reaction.UNAVAILABLE
    if "no such table" in str(error):
        return Reaction.UNAVAILABLE
    return Reaction.UNKNOWN


def reason_of(error: BaseException) -> str:
    """Return an error's class and code, for logs and dead letters. Its message may quote a lead and is left out."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(cause, "sqlite_errorname", None) or _code_of(cause)
    known = isinstance(code, int) or (isinstance(code, str) and code.startswith("SQLITE_"))
    return f"{type(cause).__name__} {code}" if known else type(cause).__name__
