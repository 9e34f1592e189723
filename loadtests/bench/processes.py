"""What processes cost: processor time and memory, and how to stop them for a while."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


def family(parent: psutil.Process) -> list[psutil.Process]:
    """Return a process and all below it."""
    with suppress(psutil.NoSuchProcess):
        return [parent, *parent.children(recursive=True)]
    return []


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Return the processor time that these have used, user and system."""
    total = 0.0
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def memory(processes: list[psutil.Process]) -> tuple[float, float]:
    """Return the greatest RSS and the greatest USS among these, in MiB."""
    found = [(0, 0)]
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            info = each.memory_full_info()
            found.append((info.rss, info.uss))
    return max(rss for rss, _ in found) / 2**20, max(uss for _, uss in found) / 2**20


@contextmanager
def paused(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop these (SIGSTOP) within the block."""
    for each in processes:
        each.suspend()
    try:
        yield
    finally:
        # Children first, so that no parent finds them stopped.
        for each in reversed(processes):
            with suppress(psutil.NoSuchProcess):
                each.resume()
        time.sleep(0)
