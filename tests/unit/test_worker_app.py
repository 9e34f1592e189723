"""workers.app: a worker steps back, as far as it is let."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# What a worker does first, by the path of the file that takes its session's niceness.
STEP_BACK = """
import os, pathlib, sys
from celery.signals import worker_init
from workers import app
app.AUTOGROUP = pathlib.Path(sys.argv[1])
worker_init.send(sender=None)
print(os.nice(0))
"""


@pytest.mark.parametrize("place", ["absent/autogroup", "directory", "file"])
def test_a_worker_starts_whether_or_not_its_session_can_step_back(tmp_path: Path, place: str):
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()

    # A process of its own, which leads its session: niceness is not taken back.
    done = subprocess.run(
        [sys.executable, "-c", STEP_BACK, str(tmp_path / place)],
        env={**os.environ, "LEADS_DATA_DIR": str(tmp_path), "LEADS_WORKER_NICE": "12"},
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout.strip()) == (0, str(max(12, os.nice(0)))), done.stderr
    assert (tmp_path / "file").read_text() == ("12" if place == "file" else "")
