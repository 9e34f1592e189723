"""Namespaces for a program that makes hosts of its own.

Network, mounts and processes are private to the run: two runs at once do not meet, and the kernel removes
everything that one started when it ends, in whatever way.
"""

import os
import shutil
import subprocess
import sys

# In the environment of the program that runs in them.
MARK = "LEADS_HOSTS_ISOLATED"

# Read at once: tests begin by removing all settings from the environment.
_INSIDE = os.environ.get(MARK) == "yes"

# `ip netns` keeps its names here.
NAMES = "/run/netns"

# Network, mounts, processes and the host's name.
NAMESPACES = ("--net", "--mount", "--pid", "--uts")


def is_inside() -> bool:
    """Tell whether this program runs in namespaces of its own."""
    return _INSIDE


def missing() -> str:
    """Return in one line what this machine lacks for namespaces; "" when they can be made."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    for name in ("ip", "unshare"):
        if shutil.which(name) is None:
            return f"{name} is not installed (Debian: iproute2, util-linux)"
    done = subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], capture_output=True, text=True)
    return f"namespaces cannot be made: {done.stderr.strip()}" if done.returncode else ""


def enter(module: str) -> None:
    """Replace this program by `python -m MODULE` in namespaces of its own, with the same arguments."""
    command = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", sys.executable, "-m", module]
    os.execvpe(command[0], [*command, *sys.argv[1:]], {**os.environ, MARK: "yes"})


def prepare() -> None:
    """Bring up loopback, and make the names of network namespaces private to this run. Call it once inside."""
    os.makedirs(NAMES, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "names", NAMES], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
