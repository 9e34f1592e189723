"""Ports for the tests' servers: no two test processes of one user are given the same."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import IO

# Below the ephemeral range, so that no outgoing connection takes a port before a restart.
FIRST_PORT, LAST_PORT = 20_000, 31_999

# Ports of one test process: far more than it uses at a time, so that none comes again soon.
BLOCK = 400

LOCKS = Path(tempfile.gettempdir()) / f"lead-ingest-test-ports-{os.getuid()}"

_ports: Iterator[int] | None = None
_lock: IO[str] | None = None


def free_port() -> int:
    """Return a TCP port of this process's own block that nobody listens on, another one each time."""
    global _ports
    if _ports is None:
        _ports = cycle(_claim_block())
    return next(port for port in _ports if _is_free(port))


def _claim_block() -> range:
    """Claim a block for as long as this process lives. Raises RuntimeError when none is left."""
    global _lock
    LOCKS.mkdir(exist_ok=True)
    for first in range(FIRST_PORT, LAST_PORT, BLOCK):
        lock = (LOCKS / str(first)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _lock = lock
        return range(first, first + BLOCK)
    raise RuntimeError(f"other test processes have all the ports; their locks are in {LOCKS}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
