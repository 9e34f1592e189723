"""compose/production/nginx, run by the nginx of this machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx

from tests.kit.ports import free_port
from tests.kit.servers import Server, program
from tests.kit.service import ROOT

# Longest time (seconds) for nginx to end: at SIGTERM it does not wait for its clients.
STOP_TIMEOUT = 30.0


class Nginx(Server):
    """nginx with the project's own files, on free ports, with one service behind it, or with two replicas."""

    def __init__(
        self, api: int, *, second: int | None = None, tls: bool = False, room: str = "", **environment: object
    ) -> None:
        """Take ports of the replicas, the size of the place for bodies, and settings of the container."""
        super().__init__()
        self.port = free_port()
        self.tls_port = free_port()
        self._api = api
        self._second = second
        self._tls = tls
        self._room = room
        self._environment = {"LEADS_PUBLIC_TLS_PORT": self.tls_port, **environment}
        self._ports = {
            "listen 8080": f"listen 127.0.0.1:{self.port}",
            "listen 8443": f"listen 127.0.0.1:{self.tls_port}",
            "127.0.0.1:8081": f"127.0.0.1:{free_port()}",
        }

    def prepare(self) -> None:
        """Copy the files, with other paths and ports."""
        # nginx's own user may not read a directory of ours.
        user = "user root; " if os.geteuid() == 0 else ""
        changes = {
            "/tmp": str(self.directory),
            "/etc/nginx/tls": str(self.directory / "tls"),
            "/etc/nginx/lead-ingest": str(self.directory / "files"),
            **self._ports,
            "api:8080": f"127.0.0.1:{self._api}",
            # One for each core is no help here.
            "worker_processes auto": f"{user}worker_processes 1",
        }
        if self._tls:
            self._make_certificate(self.directory / "tls")
        shutil.copytree(ROOT / "compose" / "production" / "nginx", self.directory / "files")
        for path in (self.directory / "files").iterdir():
            text = path.read_text()
            if self._second is not None:
                # An nginx that cannot look up names in a group has one as well, of addresses.
                both = " ".join(rf"server 127.0.0.1:{port}\1;" for port in (self._api, self._second))
                text = re.sub(r"server api:8080 resolve(.*);", both, text)
            for old, new in changes.items():
                text = text.replace(old, new)
            path.write_text(text)

    def _make_certificate(self, directory: Path) -> None:
        directory.mkdir()
        request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
        files = ["-keyout", str(directory / "privkey.pem"), "-out", str(directory / "fullchain.pem")]
        subprocess.run([program("openssl"), *request, *files], check=True, capture_output=True)

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        environment = ["env", *(f"{name}={value}" for name, value in self._environment.items())]
        start = [*environment, "sh", str(self.directory / "files" / "start")]
        if not self._room:
            return start
        # In a mount namespace of its own, which ends with it.
        bodies = self.directory / "lead-ingest" / "body"
        mount = f'mkdir -p {bodies} && mount -t tmpfs -o size={self._room} tmpfs {bodies} && exec "$@"'
        return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *start]

    def answers(self) -> bool:
        """Tell whether it answers: while nginx only checks its files the port is open as well."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/", timeout=1).status_code > 0
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """End the process with its worker, which a killed one leaves behind, and remove the data."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_TIMEOUT)
        super().stop()

    @property
    def log(self) -> str:
        """What nginx wrote."""
        return (self.directory / "server.log").read_text()
