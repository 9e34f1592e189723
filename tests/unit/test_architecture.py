"""The direction of imports: ingest_api -> schema <- workers, and within each from room to room one way."""

import ast
from collections import defaultdict
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


# Each room may import those that stand before it on its side.
ROOMS = {
    "schema": (
        "settings",
        "lead",
        "runtime",
        "database",
        "counts",
        "queue",
        "audit",
        "ledger",
        "configuration",
        "storage",
        "cli",
        "person",
        "reshard",
    ),
    "ingest_api": (
        "metrics",
        "http",
        "database",
        "auth",
        "audit",
        "parameters",
        "request_log",
        "intake",
        "traces",
        "reads",
        "server",
        "openapi",
        "resources",
        "importer",
        "app",
        "cli",
    ),
    "workers": ("metrics", "store", "upkeep", "commands", "app", "tasks", "cli"),
}


def rooms_imported_by(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the room that a module is in and each other room of the same side that it imports."""
    side, room = path.relative_to(ROOT).with_suffix("").parts[:2]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == side:
            names = [node.module.split(".")[1]] if "." in node.module else [each.name for each in node.names]
            yield from ((f"{side}.{room}", f"{side}.{name}") for name in names if name != room)


@pytest.mark.parametrize("side", ROOMS)
def test_rooms_import_those_before_them_alone(side: str):
    order = {f"{side}.{room}": number for number, room in enumerate(ROOMS[side])}
    found = {pair for path in modules_of(side) for pair in rooms_imported_by(path) if set(pair) <= order.keys()}

    backwards = {(importer, imported) for importer, imported in found if order[importer] < order[imported]}

    assert backwards == set()


@pytest.mark.parametrize("side", ROOMS)
def test_every_room_has_its_place(side: str):
    there = {path.stem for path in (ROOT / side).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

    assert there - {"__init__", "__main__"} == set(ROOMS[side])


# The API's processes and the workers' have one of their own each.
PER_PROCESS = {"GC_THRESHOLD"}


def constants_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the public constants of a module, each with what it is."""
    for node in ast.parse(path.read_text()).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper() and len(target.id) > 1 and target.id[0] != "_":
                yield target.id, ast.unparse(node.value) if node.value else ""


def test_no_constant_has_two_meanings():
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for package in FORBIDDEN:
        for path in modules_of(package):
            if "migrations" not in path.parts:
                for name, value in constants_of(path):
                    found[name][str(path.relative_to(ROOT))] = value

    two = {name: places for name, places in found.items() if len(set(places.values())) > 1}
    assert two.keys() <= PER_PROCESS, two
