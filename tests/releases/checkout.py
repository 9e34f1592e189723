"""The code of the last release, taken from the history."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kit.service import ROOT
from tests.releases import LAST_RELEASE

MIGRATIONS = Path("schema/database/migrations")
VERSIONS = MIGRATIONS / "versions"


def check_out(directory: Path) -> Path:
    """Put the last release into `directory`; without a history that has it, as in a shallow clone, skip the test."""
    git = ["git", "-C", str(ROOT)]
    look = [*git, "cat-file", "-e", f"{LAST_RELEASE}^{{commit}}"]
    if shutil.which("git") is None or subprocess.run(look, capture_output=True, check=False).returncode:
        pytest.skip(f"the history does not hold the last release ({LAST_RELEASE[:7]})")
    archive = directory.parent / f"{directory.name}.tar"
    subprocess.run([*git, "archive", f"--output={archive}", LAST_RELEASE], check=True)
    directory.mkdir()
    subprocess.run(["tar", "-x", "-C", directory, "-f", archive], check=True)
    archive.unlink()
    # The servers' programs that tests/install-servers has unpacked.
    (directory / ".servers").symlink_to(ROOT / ".servers")
    return directory


def add_new_migrations(checkout: Path) -> list[str]:
    """Give a checkout the new migrations of the phase "before", and what they import; return their names, in order."""
    there = {path.name for path in (checkout / VERSIONS).glob("*.py")}
    new = sorted(path for path in (ROOT / VERSIONS).glob("*_before_*.py") if path.name not in there)
    for path in new:
        shutil.copy(path, checkout / VERSIONS)
    shutil.copy(ROOT / MIGRATIONS / "steps.py", checkout / MIGRATIONS)
    return [path.name for path in new]
