"""The migration files: their names say their phase, and they stand alone."""

import ast
from pathlib import Path

import pytest

from tests.kit.service import ROOT

FILES = sorted((ROOT / "schema" / "database" / "migrations" / "versions").glob("*.py"))

# Those before came with release 0.1, which knew no phases.
FIRST_WITH_PHASE = "0005"
PHASED = [path for path in FILES if path.name >= FIRST_WITH_PHASE]

# Numbers that were used between two releases for what is another one now: a database that has one must not pass for
# one that has the other's tables.
LEFT_OUT = {9, 11}

# What every release has. Our own tables and rules change, and a migration must do for ever what it did at first.
ALLOWED = {"alembic", "sqlalchemy", "sqlalchemy.dialects", "typing", "schema.database.migrations"}

phased = pytest.mark.parametrize("path", PHASED, ids=lambda path: path.stem)


def assigned(path: Path) -> dict[str, object]:
    """Return the constants that a file assigns on its top level."""
    return {
        target.id: node.value.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def test_the_numbers_follow_each_other():
    numbers = [path.name[:4] for path in FILES]

    assert numbers == [f"{each:04}" for each in range(1, int(numbers[-1]) + 1) if each not in LEFT_OUT]
    assert [assigned(path)["revision"] for path in FILES] == numbers
    assert [assigned(path)["down_revision"] for path in FILES] == [None, *numbers[:-1]]


@phased
def test_the_name_says_the_phase(path: Path):
    phase = path.stem.split("_")[1]

    assert phase in ("before", "after")
    assert assigned(path)["phase"] == phase


@phased
def test_a_migration_imports_what_every_release_has(path: Path):
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")

    assert imported <= ALLOWED
