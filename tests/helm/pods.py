"""Pods of the chart as processes of this machine: commands, environments and probes, without image and container."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx

from tests.helm.chart import ROOT, Manifest
from tests.kit.ports import free_port
from tests.kit.servers import until

# What the image sets, and runs where a container names no command (compose/production/Dockerfile).
DATA_DIR = "/var/lib/lead-ingest"
COMMAND = ["python", "-m", "ingest_api", "serve"]

# Where the chart mounts what is in Secrets and ConfigMaps.
FILES = "/etc/lead-ingest"

# Seconds for a process to start or end.
DEADLINE = 60.0

Secrets = dict[str, dict[str, str]]


class Pod:
    """One pod, whose directories are below one of this machine, with ports of its own."""

    def __init__(self, spec: Manifest, secrets: Secrets, directory: Path) -> None:
        """Take its specification, and what is in the Secrets by name and key."""
        self._spec = spec
        self._secrets = secrets
        self._directory = directory
        (self._container,) = spec["containers"]
        self.ports = {each["name"]: free_port() for each in self._container.get("ports", ())}
        self._process: subprocess.Popen[bytes] | None = None
        for part in (DATA_DIR, FILES):
            (directory / part.strip("/")).mkdir(parents=True)

    def __enter__(self) -> Self:
        self.initialize()
        self._process = subprocess.Popen(self._command(self._container), **self._settings(self._container))
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def initialize(self) -> None:
        """Put the files of Secrets into their places, and run the init containers but the one that waits."""
        containers = [*self._spec.get("initContainers", ()), self._container]
        for container in containers:
            for mount in container["volumeMounts"]:
                (volume,) = [each for each in self._spec["volumes"] if each["name"] == mount["name"]]
                place = Path(self._place(mount["mountPath"]))
                if mount["mountPath"].startswith(FILES):
                    place.mkdir(exist_ok=True)
                if "secret" in volume:
                    for key, value in self._secrets[volume["secret"]["secretName"]].items():
                        (place / key).write_text(value)
        for container in containers[:-1]:
            if container["name"] != "order":
                subprocess.run(self._command(container), check=True, timeout=DEADLINE, **self._settings(container))

    def run(self) -> str:
        """Run a pod that ends; return what it wrote, and fail when it fails."""
        self.initialize()
        done = subprocess.run(
            self._command(self._container),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            **self._settings(self._container),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_until(self, probe: str) -> None:
        """Wait until a probe of the container succeeds."""
        until(lambda: self.probe(probe), DEADLINE, 0.2)

    def probe(self, probe: str) -> bool:
        """Tell whether a probe succeeds now, asked as the kubelet asks it."""
        assert self._process is not None
        assert self._process.poll() is None, f"{self._container['name']} ended with {self._process.returncode}"
        asked = self._container[probe]
        timeout = asked.get("timeoutSeconds", 1)
        if "exec" in asked:
            command = [self._place(word) for word in asked["exec"]["command"]]
            return subprocess.run(command, timeout=timeout, check=False).returncode == 0
        url = f"http://127.0.0.1:{self.ports[asked['httpGet']['port']]}{asked['httpGet']['path']}"
        try:
            return 200 <= httpx.get(url, timeout=timeout).status_code < 400
        except httpx.HTTPError:
            return False

    def terminate(self) -> None:
        """Send SIGTERM; fail when the process does not end within the pod's grace period."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(self._spec["terminationGracePeriodSeconds"])

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def _place(self, text: str) -> str:
        return re.sub(f"(?={DATA_DIR}|{FILES})", str(self._directory), text)

    def _command(self, container: Manifest) -> list[str]:
        name, *words = [*container.get("command", COMMAND), *container.get("args", ())]
        found = sys.executable if name == "python" else shutil.which(name)
        assert found, name
        return [found, *map(self._place, words)]

    def _settings(self, container: Manifest) -> dict[str, Any]:
        """Return the environment, as the kubelet makes it, and the directory."""
        values = {"LEADS_DATA_DIR": self._place(DATA_DIR), "LEADS_HTTP_HOST": "127.0.0.1"}
        for each in container.get("env", ()):
            source = each.get("valueFrom", {}).get("secretKeyRef")
            text = self._secrets[source["name"]][source["key"]] if source else each["value"]
            values[each["name"]] = self._place(re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], text))
        ports = {"LEADS_HTTP_PORT": "http", "LEADS_FLOWER_PORT": "http", "LEADS_WORKER_METRICS_PORT": "metrics"}
        values |= {name: str(self.ports[port]) for name, port in ports.items() if port in self.ports}
        return {"env": {**os.environ, **values}, "cwd": ROOT}
