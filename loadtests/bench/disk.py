"""Measures fsync on the disk during a load: the lower bound of a durable answer."""

import os
import threading
import time
from pathlib import Path
from typing import Self

# Seconds between two fsyncs, and bytes written before each, about the size of a lead's entry.
INTERVAL = 0.02
BYTES = 512


class Disk:
    """Appends to a file in `directory` and syncs it, in a thread, within a `with` block.

    `found` are the times in milliseconds, each from when it was due, so that one stall does not hide the next.
    """

    def __init__(self, directory: Path) -> None:
        self.found: list[float] = []
        self._path = directory / "fsync"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._path.unlink()

    def _run(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            due = time.monotonic()
            while not self._over.wait(max(0.0, due - time.monotonic())):
                file.write(b"\0" * BYTES)
                os.fdatasync(file)
                self.found.append((time.monotonic() - due) * 1000)
                due += INTERVAL
