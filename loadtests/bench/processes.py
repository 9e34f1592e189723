"""CPU time and memory of processes."""

from contextlib import suppress

import psutil


def family(parent: psutil.Process) -> list[psutil.Process]:
    """Return a process and its descendants."""
    with suppress(psutil.NoSuchProcess):
        return [parent, *parent.children(recursive=True)]
    return []


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Return the sum of the processes' CPU seconds, user and system."""
    total = 0.0
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def memory(processes: list[psutil.Process]) -> tuple[float, float]:
    """Return the largest RSS and the largest USS among the processes, in MiB."""
    found = [(0, 0)]
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            info = each.memory_full_info()
            found.append((info.rss, info.uss))
    return max(rss for rss, _ in found) / 2**20, max(uss for _, uss in found) / 2**20
