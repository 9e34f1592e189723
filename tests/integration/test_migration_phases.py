"""The two phases of migrations, and the sums and dirty minutes that they move out of lead_counts and back."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, inspect, select, text
from sqlalchemy.pool import NullPool

from schema.counts import maintain, totals, write
from schema.counts.widths import DAY, MICROS, MINUTES
from schema.database.lead_row import insert_rows
from schema.database.migrations import runner
from schema.database.migrations.runner import MigrationFailed, downgrade, migrate
from schema.database.tables import dirty_minutes, lead_counts
from tests.integration.killed_migrations import DIRECTIONS, killed_before_change
from tests.integration.test_migrations import a_row, counted, differences, fill

VERSIONS = sorted(path.stem for path in (runner.HERE / "versions").glob("*.py"))
REVISIONS = [name[:4] for name in VERSIONS]
LAST_BEFORE = next(name[:4] for name in reversed(VERSIONS) if "_after_" not in name)


def revision_of(url: str) -> str:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def test_from_every_revision_each_phase_leads_as_far_as_it_should(url: str):
    migrate(url)
    for start in [*reversed(REVISIONS), "base"]:
        downgrade(url, start)

        migrate(url, before=True)
        assert revision_of(url) == (max(start, LAST_BEFORE) if start in REVISIONS else LAST_BEFORE)
        migrate(url, before=True)

        migrate(url)
        assert revision_of(url) == REVISIONS[-1]
        migrate(url, before=True)
        assert differences(url) == []


def test_a_release_is_not_skipped_while_old_code_runs(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Given a release after this one
    here = shutil.copytree(runner.HERE, tmp_path / "migrations")
    last = REVISIONS[-1]
    (here / "versions" / "9998_before_next.py").write_text(
        f'"""Next."""\nrevision = "9998"\ndown_revision = "{last}"\nphase = "before"\n\n\ndef upgrade(): ...\n'
    )
    monkeypatch.setattr(runner, "HERE", here)

    # When tables of the last release are to be made ready for it, then they stay as they are
    migrate(url, "0004")
    with pytest.raises(MigrationFailed, match=r"^migration 0015 runs after the code of an earlier release: finish"):
        migrate(url, before=True)
    assert revision_of(url) == "0004"

    # And once this one's upgrade is over, they can be
    migrate(url, last)
    migrate(url, before=True)
    assert revision_of(url) == "9998"


def test_the_commands_lead_forth_in_two_phases_and_back(url: str):
    for words, revision in (
        (["migrate", "--before"], LAST_BEFORE),
        (["migrate"], REVISIONS[-1]),
        (["downgrade", "0004"], "0004"),
        (["migrate", "--before"], LAST_BEFORE),
    ):
        command = [sys.executable, "-m", "schema", *words]
        done = subprocess.run(command, env={**os.environ, "LEADS_DATABASE_URL": url}, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert revision_of(url) == revision


def sums_for_release_0_1(url: str) -> tuple[list[int], dict[int, int]]:
    """Return what release 0.1 reads: stored, expired, revision and horizon; and the leads of each marked minute."""
    old = lead_counts.c
    query = select(old.width, old.bucket, func.sum(old.stored)).where(old.width <= 0).group_by(old.width, old.bucket)
    with create_engine(url, poolclass=NullPool).connect() as connection:
        found = {(int(width), int(bucket)): int(number) for width, bucket, number in connection.execute(query)}
    sums = [found.get((0, bucket), 0) for bucket in range(4)]
    return sums, {bucket: number for (width, bucket), number in found.items() if width == -1}


def contents(url: str) -> dict[str, object]:
    """Return what a migration may have changed: every table's columns and indexes, and the rows of sums and marks."""
    engine = create_engine(url, poolclass=NullPool)
    found: dict[str, object] = {}
    with engine.connect() as connection:
        there = inspect(connection)
        for name in there.get_table_names():
            columns = [
                (each["name"], str(each["type"]), each["nullable"], each["default"]) for each in there.get_columns(name)
            ]
            indexes = sorted(
                (str(each["name"]), str(each["column_names"]), bool(each["unique"])) for each in there.get_indexes(name)
            )
            found[name] = (columns, indexes, there.get_pk_constraint(name)["constrained_columns"])
            if name in ("lead_counts", "lead_totals", "dirty_minutes"):
                found[f"rows of {name}"] = sorted(map(tuple, connection.execute(text(f"SELECT * FROM {name}"))))
    return found


@pytest.mark.parametrize(
    ("direction", "before", "after"),
    [("up", "0004", "0005"), ("up", "0014", "0015"), ("down", "0015", "0014"), ("down", "0005", "0004")],
)
def test_moving_the_sums_can_be_cut_short_between_any_two_statements(url: str, direction: str, before: str, after: str):
    # Given leads that release 0.1 has stored, and what a run leaves that nobody kills
    migrate(url, "0002")
    fill(url)
    migrate(url)
    downgrade(url, before)
    DIRECTIONS[direction](url, after)
    whole = contents(url)
    # Release 0.1 finds its sums until the last migration has moved them.
    assert sums_for_release_0_1(url) == (
        ([0] * 4, {}) if after == "0015" else ([7, 0, 0, 0], {MINUTES: 3, DAY * MICROS: 4})
    )
    back = DIRECTIONS["down" if direction == "up" else "up"]
    killed, number = True, -1
    while killed:
        number += 1
        back(url, before)

        # When a run is killed, and another one goes on
        killed = killed_before_change(number, direction, url, after)
        DIRECTIONS[direction](url, after)

        # Then it leaves the same
        assert contents(url) == whole
    assert number > 1

    # And the way from there to this release is free
    migrate(url)
    assert differences(url) == []
    assert counted(url) == (7, {0: 3, DAY: 4})
    with create_engine(url, poolclass=NullPool).connect() as connection:
        assert maintain.due(connection, 10) == [MINUTES, DAY * MICROS]


@pytest.mark.parametrize("revision", [LAST_BEFORE, "0015"])
def test_the_way_back_keeps_what_either_release_has_stored(url: str, revision: str):
    # Given sums and dirty minutes of both releases, at several slots
    migrate(url, "0004")
    old = [(0, 0, 0, 40), (0, 0, 7, 2), (0, 1, 0, 5), (0, 2, 0, 1), (-1, MINUTES, 3, 20), (-1, 2 * MINUTES, 0, 22)]
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for row in old:
            connection.execute(lead_counts.insert().values(row))
    migrate(url, LAST_BEFORE)
    with create_engine(url, poolclass=NullPool).begin() as connection:
        for slot in (0, 3, 7):
            # For release 0.1, which knows no erased rows, those were never stored.
            totals.add(connection, slot=slot, total_stored=12, expired=1, retention_cutoff=slot, erased=2)
            connection.execute(dirty_minutes.insert().values(minute=MINUTES, slot=slot, added=10))
    migrate(url, revision)

    # When the tables go back, forth and back
    for _ in range(2):
        downgrade(url, "0004")

        # Then release 0.1 finds them all
        assert sums_for_release_0_1(url) == ([72, 8, 1, 10], {MINUTES: 50, 2 * MINUTES: 22})
        migrate(url, revision)


def test_a_worker_of_the_last_release_that_is_still_there_after_the_move_does_no_harm(url: str):
    # Given the newest tables, and a lead that is counted as release 0.1 does
    migrate(url)
    with create_engine(url, poolclass=NullPool).begin() as connection:
        insert_rows(connection, [a_row(MINUTES)])
        write.upsert(connection, dict.fromkeys(write.numbers_of([MINUTES]), 1))
        write.upsert(connection, {(0, 0): 1, (-1, MINUTES): 1}, slot=3)
    assert counted(url)[0] == 1

    # When the counts are made anew, then nothing is left of it
    with create_engine(url, poolclass=NullPool).begin() as connection:
        assert totals.is_upgrading(connection)
        maintain.rebuild(connection)
        assert not totals.is_upgrading(connection)
    assert counted(url)[0] == 1
    downgrade(url, "0004")
    assert sums_for_release_0_1(url)[0] == [1, 0, 1, 0]
