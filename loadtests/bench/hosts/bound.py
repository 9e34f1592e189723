"""A host's bound: a cgroup whose processes get a share of a core together, with cgroup v2 or v1."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from tests.kit.servers import until

# Begin of the cgroups' names.
PREFIX = "lead-ingest-bench-"

# Microseconds in which a host may use up its share. Short, so that it is slow all the time: with the kernel's 100 ms it
# is quick for a moment and then stands still, and every other host waits for its shard.
PERIOD = 10_000

# Smallest share that the kernel takes: a quota of 1 ms.
SHARE_MIN = 1000 / PERIOD

# Weight of a host against what runs outside of bounds, in times the kernel's default: it gets its share from a machine
# that others use, too.
WEIGHT = 10

# Starts a command inside of the cgroup whose file of processes is the first argument.
_ENTER = 'echo $$ >"$1" && shift && exec "$@"'


class CannotBind(Exception):
    """No cgroup with a bound can be made; the message says why."""


class Throttling(NamedTuple):
    """Periods in which a host had work, and those in which it used up its share."""

    periods: int
    throttled: int


@dataclass(frozen=True)
class Hierarchy:
    """Where cgroups with a bound of processor time are made."""

    root: Path
    version: int


def hierarchy_in(mounts: str) -> Hierarchy:
    """Return the hierarchy with the cpu controller, by the text of /proc/mounts.

    Raises CannotBind when there is none.
    """
    unified: Hierarchy | None = None
    for line in mounts.splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            return Hierarchy(Path(place), 1)
        if kind == "cgroup2":
            unified = Hierarchy(Path(place), 2)
    if unified is None:
        raise CannotBind("no cgroup hierarchy with the cpu controller is mounted")
    return unified


def hierarchy() -> Hierarchy:
    """Return this machine's hierarchy, after a cgroup was made in it to see that it can be.

    Removes what a killed run left. Raises CannotBind.
    """
    try:
        found = hierarchy_in(Path("/proc/mounts").read_text())
        if found.version == 2:
            (found.root / "cgroup.subtree_control").write_text("+cpu")
        for left in found.root.glob(f"{PREFIX}*"):
            # One in use belongs to another run.
            with suppress(OSError):
                left.rmdir()
        with Bound(found, "trial") as trial:
            trial.hold(SHARE_MIN)
    except OSError as error:
        raise CannotBind(f"cannot make cgroups here (root is needed): {error}") from None
    return found


class Bound:
    """One cgroup. It is removed at the block's end, by when its processes must have ended."""

    def __init__(self, hierarchy: Hierarchy, name: str) -> None:
        self._version = hierarchy.version
        self._path = hierarchy.root / f"{PREFIX}{os.getpid()}-{name}"

    def __enter__(self) -> Self:
        self._path.mkdir()
        name, default = ("cpu.weight", 100) if self._version == 2 else ("cpu.shares", 1024)
        (self._path / name).write_text(str(WEIGHT * default))
        return self

    def __exit__(self, *_: object) -> None:
        # The kernel lets a process that was killed leave a moment later.
        until(self._removed, 10)

    def prefix(self) -> list[str]:
        """Return what starts the command behind it inside of the cgroup."""
        return ["/bin/sh", "-c", _ENTER, "sh", str(self._path / "cgroup.procs")]

    def hold(self, share: float) -> None:
        """Let the processes have `share` of a core together from now on."""
        self._write(str(round(share * PERIOD)))

    def lift(self) -> None:
        """Let them have what they want."""
        self._write("max" if self._version == 2 else "-1")

    def throttling(self) -> Throttling:
        """Return the periods so far."""
        return throttling_in((self._path / "cpu.stat").read_text().splitlines())

    def _write(self, quota: str) -> None:
        if self._version == 2:
            (self._path / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (self._path / "cpu.cfs_period_us").write_text(str(PERIOD))
            (self._path / "cpu.cfs_quota_us").write_text(quota)

    def _removed(self) -> bool:
        with suppress(OSError):
            self._path.rmdir()
        return not self._path.exists()


def throttling_in(lines: Iterable[str]) -> Throttling:
    """Return the periods by the lines of a cgroup's cpu.stat."""
    found = dict(line.split() for line in lines)
    return Throttling(int(found["nr_periods"]), int(found["nr_throttled"]))
