"""Ending the processes of a peer."""

import os
import signal
import subprocess
from collections.abc import Collection
from contextlib import suppress

# Time (seconds) that a process has to end by itself.
STOP_TIMEOUT = 5.0


def end_all(started: Collection[subprocess.Popen[bytes]]) -> None:
    """End processes that were started in sessions of their own, with all that they have started."""
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
