"""Hosts on one machine, each of namespaces: a network, a process tree, a name and a small disk of its own.

They hang on a switch, which is also where the test's own process is; see tests.kit.isolation. A host is lost, paused,
cut off and slowed down from outside, and starts by itself what it runs when it comes back.

    with Network(3, directory) as network:
        host = network.hosts[0]
        host.set_unit("web", Unit(["python3", "-m", "http.server", "80"]))
        host.start()
        host.lose()
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.kit.servers import until
from tests.kit.service import ROOT

SWITCH = "switch"
NETWORK = "10.86.0"
OUTSIDE = f"{NETWORK}.254"  # the address of the test's own process

DISK_SIZE = "1200m"

# How a switch's port treats frames: as always, none to the host, none from it.
_OPEN = "learning on flood on mcast_flood on bcast_flood on locked off fdb_flush"
_DEAF = "learning off flood off mcast_flood off bcast_flood off fdb_flush"
_MUTE = "locked on fdb_flush"


@dataclass(frozen=True)
class Unit:
    """A process that a host keeps alive."""

    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)


class Host:
    """One host. Its disk outlives the loss of the host."""

    def __init__(self, number: int, directory: Path) -> None:
        self.number = number
        self.name = f"host{number}"
        self.address = f"{NETWORK}.{number}"
        self.prefix = ("ip", "netns", "exec", self.name)
        self.disk = directory / f"h{number}"
        self._port = f"port{number}"
        self._file = directory / f"{self.name}.units"
        self.journal_file = directory / f"{self.name}.journal"
        self._units: dict[str, dict[str, Any]] = {}
        self._init: subprocess.Popen[bytes] | None = None
        self._wire: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make the network namespace, the cable to the switch, and the disk."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", self._port, "master", SWITCH, "up")
        for command in ("link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up"):
            _ip("-n", self.name, *command.split())
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", self.name, str(self.disk)], check=True)
        for part in ("log", "data"):
            (self.disk / part).mkdir()
        self._write()

    def set_unit(self, name: str, unit: Unit) -> None:
        """Say what the host runs under a name; it counts from the next start of that unit on."""
        self._units[name] = {
            "command": list(unit.command),
            "environment": {**os.environ, "PYTHONUNBUFFERED": "1", **unit.environment},
            "directory": str(ROOT),
            "log": str(self.disk / "log" / f"{name}.log"),
        }
        self._write()

    def start(self) -> None:
        """Start the host: it starts its units."""
        assert self._init is None, "the host runs already"
        namespaces = ["unshare", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc"]
        named = ["sh", "-c", f'hostname {self.name}; exec "$@"', "sh"]
        init = [sys.executable, "-m", "tests.kit.host_init", str(self._file), str(self.journal_file)]
        self._init = subprocess.Popen([*self.prefix, *namespaces, *named, *init], cwd=ROOT, start_new_session=True)

    @property
    def is_running(self) -> bool:
        """Whether it was started and not lost."""
        return self._init is not None

    def lose(self) -> None:
        """Kill everything on the host at once (SIGKILL of its first process). Does nothing when it does not run."""
        if self._init is not None:
            self._init.kill()
            self._init.wait()
            self._init = None
            until(lambda: not self.pids(), 10)

    def pids(self) -> list[int]:
        """Return the processes on the host."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        return [int(each) for each in found.stdout.split()]

    def pause(self) -> None:
        """Stop every process on the host (SIGSTOP). Its connections stay open, and its kernel goes on confirming."""
        stopped: set[int] = set()
        # Again, until nobody was started meanwhile.
        while new := [each for each in self.pids() if each not in stopped]:
            for pid in new:
                _signal(pid, signal.SIGSTOP)
            stopped.update(new)

    def resume(self) -> None:
        """Let every process go on (SIGCONT)."""
        for pid in self.pids():
            _signal(pid, signal.SIGCONT)

    def signal(self, part: str, number: int) -> None:
        """Send a signal to the processes whose command line contains `part`."""
        for pid in self.pids():
            with suppress(OSError):
                if part in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                    _signal(pid, number)

    def cut(self) -> None:
        """Let nothing through in either direction. The cable stays in, so nobody is told."""
        _ip("link", "set", self._port, "nomaster")

    def deafen(self) -> None:
        """Let nothing through to the host; what it sends arrives."""
        _ip("link", "set", "dev", self._port, "type", "bridge_slave", *_DEAF.split())

    def mute(self) -> None:
        """Let nothing through that the host sends; it receives all."""
        _ip("link", "set", "dev", self._port, "type", "bridge_slave", *_MUTE.split())

    def slow(self, delay: float, jitter: float, loss: float) -> None:
        """Delay frames in both directions (milliseconds), and lose some (percent)."""
        numbers = (str(delay), str(jitter), str(loss))
        command = [sys.executable, "-m", "tests.kit.wire", self._port, SWITCH, *numbers]
        self._wire = subprocess.Popen(command, cwd=ROOT)

    def join(self) -> None:
        """Let everything through again, at once."""
        if self._wire is not None:
            self._wire.kill()
            self._wire.wait()
            self._wire = None
        _ip("link", "set", self._port, "master", SWITCH)
        _ip("link", "set", "dev", self._port, "type", "bridge_slave", *_OPEN.split())

    def fill_disk(self) -> None:
        """Fill the disk to the last byte."""
        with suppress(OSError), (self.disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"\0" * (1 << 16))

    def free_disk(self) -> None:
        """Undo `fill_disk`."""
        (self.disk / "filler").unlink(missing_ok=True)

    def run(
        self, *command: str, environment: dict[str, str], given: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m COMMAND` in the host's network."""
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def journal(self) -> list[dict[str, Any]]:
        """Return what the host noted: a dict with `at`, `unit` and `what` for each start and end of a unit."""
        if not self.journal_file.exists():
            return []
        return [json.loads(line) for line in self.journal_file.read_text().splitlines()]

    def _write(self) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(self._units))
        fresh.replace(self._file)


class Network:
    """The switch and the hosts. All are gone at the block's end."""

    def __init__(self, number: int, directory: Path) -> None:
        """Take the number of hosts, and a directory with a short path for their disks."""
        self.hosts = [Host(each, directory) for each in range(1, number + 1)]

    def __enter__(self) -> Self:
        _ip("link", "add", SWITCH, "type", "bridge")
        _ip("link", "set", SWITCH, "up")
        _ip("addr", "add", f"{OUTSIDE}/24", "dev", SWITCH)
        for host in self.hosts:
            host.make()
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.join()
            host.lose()
            subprocess.run(["umount", "--lazy", str(host.disk)], check=False)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
