"""The direction of imports: ingest_api -> schema <- workers, and nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "ingest_api": {"workers", "tests"},
    "workers": {"ingest_api", "tests"},
    "schema": {"ingest_api", "workers", "tests"},
}


def modules_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported_by(path: Path) -> Iterator[str]:
    """Yield the top-level packages that a module imports, within functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            assert name not in ("import_module", "__import__"), f"{path}: imports are written as imports"


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_one_it_must_not_know(package: str):
    modules = modules_of(package)
    found = {(path.name, name) for path in modules for name in imported_by(path) if name in FORBIDDEN[package]}

    assert len(modules) > 5
    assert found == set()


@pytest.mark.parametrize("package", ["ingest_api", "workers"])
def test_both_sides_stand_on_the_schema(package: str):
    assert "schema" in {name for path in modules_of(package) for name in imported_by(path)}


def test_the_system_tests_import_nothing_of_ours():
    paths = sorted((ROOT / "tests" / "system").rglob("*.py"))

    found = {(path.name, name) for path in paths for name in imported_by(path) if name in FORBIDDEN}

    assert found == set()
