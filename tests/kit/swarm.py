"""Docker engines that form a Swarm, each in a network namespace of its own, on one switch.

The test's own process is on the switch, too, and has to be in namespaces of its own: see tests.kit.isolation.

    with Swarm(3, directory) as swarm:
        swarm.form()
        swarm.engines[1].cut()
"""

import json
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.kit.servers import Place, until

SWITCH = "switch"
NETWORK = "10.87.0"
OUTSIDE = f"{NETWORK}.254"  # the address of the test's own process

# Seconds for an engine to answer, and for its containers to end.
ENGINE_DEADLINE = 120.0

# Seconds for one command of Docker's: an image of half a gigabyte is loaded on a busy disk.
COMMAND_DEADLINE = 580

# What an engine in a namespace of its own is started with.
PROGRAMS = ("dockerd", "docker", "containerd", "runc", "iptables", "nsenter", "ip")


def missing() -> str:
    """Return in one line what this machine lacks for several engines; "" when they can be started."""
    for name in PROGRAMS:
        if shutil.which(name) is None:
            return f"{name} is not installed (Debian: docker.io, iptables, iproute2, util-linux)"
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True)
    if done.returncode:
        return "docker compose is not installed"
    # What Docker's overlay networks are made of.
    for kind, more in (("bridge", ()), ("vxlan", ("id", "4095", "dstport", "4789"))):
        done = subprocess.run(["ip", "link", "add", "leadtest", "type", kind, *more], capture_output=True, text=True)
        if done.returncode:
            return f"the kernel makes no {kind}: {done.stderr.strip()}"
        subprocess.run(["ip", "link", "del", "leadtest"], check=True)
    return ""


class Engine:
    """One engine. What it keeps outlives a stop."""

    def __init__(self, number: int, directory: Path) -> None:
        self.number = number
        self.name = f"host{number}"
        self.address = f"{NETWORK}.{number}"
        # For servers on this host that are no containers.
        self.place = Place(self.address, ("nsenter", f"--net=/run/netns/{self.name}"))
        self.directory = directory / str(number)
        self.is_cut = False
        self.socket = f"unix://{directory}/{number}.sock"
        self._port = f"port{number}"
        self._log = directory / f"{number}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make the network namespace and the cable to the switch."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", self._port, "master", SWITCH, "up")
        for command in ("link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up"):
            _ip("-n", self.name, *command.split())

    def start(self) -> None:
        """Start the engine; wait until it answers."""
        # Not `ip netns exec`, which hides the cgroups.
        inside = ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--uts"]
        named = ["sh", "-c", f'hostname {self.name}; exec "$@"', "sh"]
        command = ["dockerd", "--host", self.socket, "--data-root", str(self.directory / "data")]
        command += ["--exec-root", str(self.directory / "exec"), "--pidfile", str(self.directory / "pid")]
        command += ["--bip", f"172.30.{self.number}.1/24"]
        command += ["--default-address-pool", f"base=172.30.{100 + self.number}.0/24,size=27"]
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*inside, *named, *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        until(self._answers, ENGINE_DEADLINE, 0.5)

    def stop(self) -> None:
        """Stop the engine and its containers; kill what does not end."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(ENGINE_DEADLINE)
        self._process.kill()
        self._process.wait()
        self._process = None

    def cut(self) -> None:
        """Let nothing through in either direction. The cable stays in, so nobody is told."""
        _ip("link", "set", self._port, "nomaster")
        self.is_cut = True

    def join(self) -> None:
        """Let everything through again."""
        _ip("link", "set", self._port, "master", SWITCH)
        self.is_cut = False

    def docker(self, *arguments: str, given: bytes | None = None) -> str:
        """Run the docker command on this engine; return its output."""
        done = subprocess.run(
            ["docker", "--host", self.socket, *arguments],
            input=given,
            capture_output=True,
            timeout=COMMAND_DEADLINE,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.decode()[-2000:]}"
        return done.stdout.decode()

    def inspect(self, *names: str) -> list[dict[str, Any]]:
        """Return what the engine knows of the named."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *names)) if names else []
        return found

    def copy(self, *images: str) -> None:
        """Copy images from the machine's own engine."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as save:
            subprocess.run(["docker", "--host", self.socket, "load", "--quiet"], stdin=save.stdout, check=True)
        assert save.returncode == 0

    def log(self) -> str:
        """Return the end of what the engine wrote."""
        return self._log.read_text(errors="replace")[-4000:]

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        return subprocess.run(["docker", "--host", self.socket, "version"], capture_output=True).returncode == 0


class Swarm:
    """The switch and the engines. All are gone at the block's end."""

    def __init__(self, number: int, directory: Path) -> None:
        """Take the number of engines, and a directory with a short path for what they keep."""
        self.engines = [Engine(each, directory) for each in range(1, number + 1)]
        self._directory = directory

    def __enter__(self) -> Self:
        _ip("link", "add", SWITCH, "type", "bridge")
        _ip("link", "set", SWITCH, "up")
        _ip("addr", "add", f"{OUTSIDE}/24", "dev", SWITCH)
        try:
            for each in self.engines:
                each.make()
                each.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.engines:
            with suppress(subprocess.CalledProcessError):
                each.join()
            each.stop()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if (place := line.split()[1]).startswith(f"{self._directory}/"):
                subprocess.run(["umount", "--lazy", place], check=False)

    @property
    def manager(self) -> Engine:
        """The engine that the test's commands go to: the first that is not cut off."""
        return next(each for each in self.engines if not each.is_cut)

    def form(self) -> None:
        """Make the engines managers of one Swarm."""
        first, *others = self.engines
        first.docker(
            *("swarm", "init", "--advertise-addr", first.address, "--listen-addr", f"{first.address}:2377"),
            *("--default-addr-pool", "10.88.0.0/16", "--dispatcher-heartbeat", "2s"),
        )
        token = first.docker("swarm", "join-token", "--quiet", "manager").strip()
        for each in others:
            where = ("--advertise-addr", each.address, "--listen-addr", f"{each.address}:2377")
            each.docker("swarm", "join", *where, "--token", token, f"{first.address}:2377")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
