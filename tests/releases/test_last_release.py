"""The last release's own system tests, on the tables as they are while its successor is rolled out."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.databases import MySQLServer, is_mysql
from tests.kit.servers import program
from tests.releases.checkout import add_new_migrations, check_out

FILES = ("post_lead", "lead_by_id", "bulk", "idempotency", "list", "pages", "stats", "dead_letters", "health")

# Seconds. They take half a minute.
DEADLINE = 240

# Fewest tests that must have run.
ENOUGH = 150


@pytest.mark.timeout(DEADLINE + 30)
@pytest.mark.parametrize("backend", ["embedded", pytest.param(MySQLServer.name, marks=pytest.mark.extended)])
def test_it_passes_its_system_tests_on_the_new_tables(backend: str, tmp_path: Path):
    if backend == MySQLServer.name:
        program("mysqld", takes=is_mysql)
        program("redis-server")

    # Given the last release, which makes the tables that this one starts on
    checkout = check_out(tmp_path / "release")
    new = add_new_migrations(checkout)
    assert new, "nothing is new"

    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-k", backend, "-p", "no:cacheprovider"),
            *(f"--basetemp={tmp_path / 'tests'}", *(f"tests/system/test_{name}.py" for name in FILES)),
        ],
        cwd=checkout,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    summary = done.stdout.strip().rpartition("\n")[2]
    assert " skipped" not in summary
    assert int(summary.split(" passed")[0]) >= ENOUGH, summary
    if backend == "embedded":
        database = tmp_path / "tests" / "embedded0" / "data" / "leads.db"
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (new[-1][:4],)
