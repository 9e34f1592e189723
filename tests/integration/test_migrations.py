"""schema.database.migrations: they make what schema.database.tables says, may run again, and lead back."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from schema.counts import lookup, maintain, totals
from schema.counts.widths import DAY, MICROS
from schema.database.engines import Product
from schema.database.lead_row import LeadRow
from schema.database.migrations import runner
from schema.database.migrations.runner import MigrationFailed, downgrade, migrate
from schema.database.tables import lead_counts, metadata
from schema.lead import lead_id
from tests.integration.killed_migrations import DIRECTIONS, killed_before_change
from tests.kit.databases import DatabaseServer


def differences(url: str) -> list[Any]:
    """Return what a migration would have to change for the database to equal schema.database.tables."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def tables(url: str) -> set[str]:
    return set(inspect(create_engine(url, poolclass=NullPool)).get_table_names()) - {"alembic_version"}


def test_the_migrated_database_equals_the_tables(url: str):
    migrate(url)

    assert tables(url) == set(metadata.tables)
    assert differences(url) == []


def test_a_difference_would_be_found(url: str):
    migrate(url, "0001")

    assert differences(url) != []


def test_migrating_twice_does_no_harm(url: str):
    migrate(url)
    migrate(url)

    assert differences(url) == []


def test_each_revision_leads_back_and_forth(url: str):
    migrate(url)
    downgrade(url, "0003")
    migrate(url)
    assert differences(url) == []

    downgrade(url, "base")
    assert tables(url) == set()
    migrate(url)
    assert differences(url) == []


def test_text_is_kept_by_code_point(database_server: DatabaseServer):
    url = database_server.create_database()
    migrate(url)

    name = url.rpartition("/")[2]
    rows = database_server.execute(
        "SELECT DISTINCT collation_name FROM information_schema.columns "
        "WHERE table_schema = %s AND collation_name IS NOT NULL AND table_name <> 'alembic_version'",
        name,
    )
    assert rows == (("utf8mb4_bin",),)


def test_the_command_brings_the_tables_up_to_date(url: str):
    command = [sys.executable, "-m", "schema", "migrate"]
    result = subprocess.run(command, env={**os.environ, "LEADS_DATABASE_URL": url}, capture_output=True, text=True)

    assert (result.returncode, result.stdout) == (0, "The tables are up to date.\n")
    assert differences(url) == []


# Leads of two days, as the counts of revision 0002 have them: width and bucket in seconds.
OLD_COUNTS = {
    (1, 100): 3,
    (1, 86_400): 4,
    (60, 60): 3,
    (60, 86_400): 4,
    (3600, 0): 3,
    (3600, 86_400): 4,
    (86_400, 0): 3,
    (86_400, 86_400): 4,
}


def a_row(micros: int, number: int = 0) -> LeadRow:
    """Return a lead of that moment."""
    moment = "1990-12-10 00:00:00.000000"
    return LeadRow(lead_id.at(micros, number), "A", "L", "a@b.cd", "+44", moment[:10], None, moment, moment)


def insert_without_source(connection: Connection, rows: Sequence[LeadRow]) -> None:
    """Insert rows as releases did that knew no sources."""
    columns = LeadRow._fields[: LeadRow._fields.index("source")]
    place = "?" if connection.dialect.name == "sqlite" else "%s"
    statement = f"INSERT INTO leads ({', '.join(columns)}) VALUES ({', '.join(place for _ in columns)})"
    connection.exec_driver_sql(statement, [row[: len(columns)] for row in rows])


def fill(url: str) -> None:
    """Store and count leads at revision 0002."""
    engine = create_engine(url, poolclass=NullPool)
    rows = [
        a_row(bucket * MICROS, each)
        for (width, bucket), number in OLD_COUNTS.items()
        if width == 1
        for each in range(number)
    ]
    with engine.begin() as connection:
        insert_without_source(connection, rows)
        connection.execute(
            lead_counts.insert(),
            [
                {"width": width, "bucket": bucket, "slot": 0, "stored": number}
                for (width, bucket), number in OLD_COUNTS.items()
            ],
        )


def counted(url: str) -> tuple[int, dict[int, int]]:
    """Return the total, and the leads of each day, at the newest revision; check every count against the rows."""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        assert list(maintain.differences(connection)) == []
        return totals.total(connection), lookup.by_bucket(connection, DAY, 0, 10 * DAY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("direction", "before", "after"),
    [
        ("up", "base", "0001"),
        ("up", "0001", "0002"),
        # The longest, of revisions that do not change any more: `make test-integration` runs them.
        pytest.param("up", "0002", "0003", marks=pytest.mark.extended),
        ("up", "0003", "0004"),
        pytest.param("down", "0004", "0003", marks=pytest.mark.extended),
        pytest.param("down", "0003", "0002", marks=pytest.mark.extended),
    ],
)
def test_a_migration_killed_between_any_two_statements_can_be_run_again(
    make_url: Callable[[], str], direction: str, before: str, after: str
):
    has_counts = before not in ("base", "0001")
    number = 0
    while True:
        # Given a database at one revision
        url = make_url()
        if has_counts:
            migrate(url, "0002")
            fill(url)
        if before != "base":
            migrate(url, before)

        # When a run ends before its next statement
        killed = killed_before_change(number, direction, url, after)

        # Then the next one ends well
        DIRECTIONS[direction](url, after)
        migrate(url)
        assert differences(url) == []
        if has_counts:
            assert counted(url) == (7, {0: 3, DAY: 4})
        if not killed:
            break
        number += 1
    assert number > 0


def test_a_migration_that_fails_is_named_with_its_statement(database_server: DatabaseServer):
    # Given a table that is in the way, with something in it
    url = database_server.create_database()
    migrate(url, "0002")
    name = url.rpartition("/")[2]
    database_server.execute(f"CREATE VIEW {name}.new_counts AS SELECT 'ada@example.com' AS email")

    with pytest.raises(MigrationFailed) as failed:
        migrate(url)

    said = str(failed.value)
    assert said.startswith("migration 0003 (Counts in microseconds")
    assert "new_counts" in said
    assert re.search(r": (Operational|Programming|Internal)Error \d+$", said)
    assert "ada" not in said

    # And once it is out of the way, the rest is made
    database_server.execute(f"DROP VIEW {name}.new_counts")
    migrate(url)
    assert differences(url) == []


def test_tables_of_a_newer_release_are_told_in_one_line(url: str):
    migrate(url)
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(MigrationFailed, match=r"^the tables are of another release: .*9999"):
        migrate(url)


def test_of_two_runs_at_once_one_waits(url: str):
    with ThreadPoolExecutor(3) as threads:
        for run in [threads.submit(migrate, url) for _ in range(3)]:
            run.result()

    assert differences(url) == []


def test_a_run_does_not_begin_while_a_killed_ones_statement_still_runs(database_server: DatabaseServer):
    # Given the lock of a run whose process is gone, but not its statement
    url = database_server.create_database()
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as other, ThreadPoolExecutor(1) as thread:
        runner._lock(other)
        run = thread.submit(migrate, url)
        with pytest.raises(TimeoutError):
            run.result(1)
        assert tables(url) == set()

        other.invalidate()
        other.close()
        run.result()

    assert differences(url) == []


def test_a_server_that_is_too_old_is_named_with_its_version(
    database_server: DatabaseServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runner, "OLDEST", dict.fromkeys(Product, (99, 8, 7)))

    with pytest.raises(MigrationFailed) as failed:
        migrate(database_server.create_database())

    server = f"{database_server.title} {database_server.version()}"
    assert str(failed.value) == f"{server} is too old: 99.8.7 or later is needed"
