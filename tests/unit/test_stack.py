"""compose/production/stack: what it asks of Docker."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A Docker in which everything runs and is healthy but Grafana, and no installation was made before.
DOCKER = """#!/bin/sh
echo "$*" >>"$ASKED"
case "$*" in
build*) cat >/dev/null ;;
volume*) exit 1 ;;
*service=grafana*) ;;
ps*) echo container ;;
wait*) echo 0 ;;
*inspect*) echo running healthy ;;
esac
"""


def run_stack(directory: Path, command: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command of a copy of the stack; return how it ended, and what it asked of Docker."""
    ignored = shutil.ignore_patterns("*.env", "backups", "tls")
    shutil.copytree(ROOT / "compose", directory / "compose", ignore=ignored)
    docker = directory / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    asked = directory / "asked"
    environment = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}", "ASKED": str(asked)}
    done = subprocess.run(
        ["compose/production/stack", command],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    return done, asked.read_text().splitlines()


def test_a_build_replaces_the_monitoring_that_runs_and_starts_none(tmp_path: Path):
    done, asked = run_stack(tmp_path, "build")

    assert done.returncode == 0, done.stderr
    started = {line.split()[-1] for line in asked if " up " in line and "--profile monitoring" in line}
    assert started == {"prometheus", "alertmanager"}


def test_a_command_that_there_is_not_shows_those_that_there_are(tmp_path: Path):
    done, asked = run_stack(tmp_path, "nonsense")

    assert done.returncode == 2
    assert "restore FILE" in done.stderr
    assert asked == ["compose version"]
