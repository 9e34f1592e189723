"""Brings the database's tables to a revision, from wherever an earlier run was cut short.

On SQLite a run is one transaction. MySQL and MariaDB commit each DDL statement by itself, so there every step of a
migration may be repeated (steps.py), and a lock keeps a second run away from what a killed one has left running in
the server.

Releases are rolled out one process after the other, so old code meets new tables. A migration is of one of two phases:
"before" the new code starts, when the old code can live with it, or "after" the last old process has ended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from schema.database import engines
from schema.database.engines import Product
from schema.database.errors import reason_of

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script

HERE = Path(__file__).parent

# The oldest servers that know our SQL. MySQL: row aliases in upserts; MariaDB: DDL that a crash leaves whole.
OLDEST = {Product.MYSQL: (8, 0, 19), Product.MARIADB: (10, 6, 1)}

# Longest wait for another run to end, seconds.
LOCK_TIMEOUT = 60

# Characters of a failed statement that are shown.
STATEMENT_SHOWN = 160

# The name of the lock. A server's names of locks have 64 characters at most.
_LOCK = "CONCAT('lead-ingest migrations ', LEFT(DATABASE(), 30))"


class MigrationFailed(Exception):
    """A migration cannot be applied. The message is one line that names it and its statement, without data."""


def migrate(url: str, revision: str = "head", *, before: bool = False) -> None:
    """Bring the tables to `revision`; do nothing when they are there. On return it is committed.

    With `before` the last migrations are left out that must run after the code. A run that was killed or failed may
    be repeated. Raises MigrationFailed, also when with `before` the tables are of two releases ago, and
    SQLAlchemyError when the database does not answer.
    """
    # Not above: alembic brings the dialects of every database along, 10 MiB in each process that never migrates.
    from alembic import command
    from alembic.script import ScriptDirectory

    with _prepared(url) as (config, connection):
        script = ScriptDirectory.from_config(config)
        current = _current(connection)
        # The newest first.
        steps = list(script.iterate_revisions(revision, current))
        if before:
            steps = list(dropwhile(_is_after, steps))
            unfinished = [step.revision for step in steps if _is_after(step)]
            # Empty tables have no old code that reads them.
            if unfinished and current != "base":
                raise MigrationFailed(
                    f"migration {unfinished[0]} runs after the code of an earlier release: finish that upgrade first "
                    f"(python -m schema migrate --revision {unfinished[0]}, once its last old process has ended)"
                )
        if steps:
            with _named(steps[::-1], config):
                command.upgrade(config, steps[0].revision)


def _is_after(step: "Script") -> bool:
    """Tell whether a migration must run after the code."""
    return getattr(step.module, "phase", "before") == "after"


def downgrade(url: str, revision: str) -> None:
    """Take the tables back to `revision`, or to "base", which is none. On return it is committed.

    Raises as `migrate` does.
    """
    from alembic import command
    from alembic.script import ScriptDirectory

    with _prepared(url) as (config, connection):
        script = ScriptDirectory.from_config(config)
        steps = list(script.iterate_revisions(_current(connection), revision))
        if steps:
            with _named(steps, config):
                command.downgrade(config, revision)


@contextmanager
def _prepared(url: str) -> Iterator[tuple["Config", Connection]]:
    """Yield what alembic needs, with nobody else migrating; commit at the end."""
    from alembic.config import Config
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(HERE))
    engine = engines.migrator(url)
    try:
        with engine.connect() as connection:
            _check_version(connection)
            config.attributes["connection"] = connection
            if connection.dialect.name == "sqlite":
                with connection.begin():
                    yield config, connection
            else:
                _lock(connection)
                yield config, connection
    except (CommandError, RevisionError) as error:
        raise MigrationFailed(f"the tables are of another release: {error}") from None
    finally:
        engine.dispose()


def _current(connection: Connection) -> str:
    from alembic.migration import MigrationContext

    current = MigrationContext.configure(connection).get_current_revision() or "base"
    if connection.dialect.name != "sqlite":
        connection.rollback()
    return current


def _check_version(connection: Connection) -> None:
    """Raise MigrationFailed for a server that does not know our SQL."""
    product = engines.product_of(connection)
    oldest = OLDEST.get(product)
    found = connection.dialect.server_version_info or ()
    if oldest is not None and found < oldest:
        versions = [".".join(map(str, each)) for each in (found[: len(oldest)], oldest)]
        raise MigrationFailed(f"{product.value} {versions[0]} is too old: {versions[1]} or later is needed")


def _lock(connection: Connection) -> None:
    """Take the lock; the connection's end gives it back, and the server ends it after the statement that runs."""
    is_locked = connection.execute(text(f"SELECT GET_LOCK({_LOCK}, {LOCK_TIMEOUT})")).scalar()
    connection.rollback()
    if not is_locked:
        raise MigrationFailed(
            f"another migration has been running for more than {LOCK_TIMEOUT} s: try again when it is over"
        )


@contextmanager
def _named(steps: list["Script"], config: "Config") -> Iterator[None]:
    """Name the migration and the statement in an error within the block, which runs these migrations in this order."""
    left = iter(steps)
    step = next(left)

    def applied(**_: object) -> None:
        nonlocal step
        step = next(left, step)

    config.attributes["on_version_apply"] = applied
    try:
        yield
    except SQLAlchemyError as error:
        statement = " ".join((error.statement or "").split()) if isinstance(error, DBAPIError) else ""
        where = f" at {statement[:STATEMENT_SHOWN]!r}" if statement else ""
        title = step.doc.rstrip(".")
        raise MigrationFailed(f"migration {step.revision} ({title}) failed{where}: {reason_of(error)}") from None
