"""schema.migrations: they make what schema.tables says, may run again, and lead back."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from schema.migrations.runner import downgrade, migrate
from schema.tables import metadata
from tests.databases import DATABASES, DatabaseServer


@pytest.fixture(params=["sqlite", *DATABASES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'leads.db'}"
    else:
        yield request.getfixturevalue(f"{request.param}_server").create_database()


def differences(url: str) -> list[Any]:
    """Return what a migration would have to change for the database to equal schema.tables."""
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
