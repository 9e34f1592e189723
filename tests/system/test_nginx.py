"""compose/production/nginx, run by Debian's nginx in front of a service: what passes, and whose address it tells."""

import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import Server, free_port, program
from tests.kit.service import ROOT, Service


class Nginx(Server):
    """nginx with the project's own files, on free ports, with one service behind it."""

    def __init__(self, api: int, *, tls: bool = False, room: str = "", **environment: object) -> None:
        """Take the service's port, the size of a place for bodies of its own, and settings of the container."""
        super().__init__()
        self.port = free_port()
        self.tls_port = free_port()
        self._api = api
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
        """Tell whether the port is open."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    @property
    def log(self) -> str:
        """What nginx wrote."""
        return (self.directory / "server.log").read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that believes what a proxy on loopback says."""
    directory = tmp_path_factory.mktemp("behind")
    with Service(directory, rate_limit=500, trusted_proxies="127.0.0.1/32", http_body_timeout=5) as service:
        yield service


@pytest.fixture(scope="module")
def nginx(service: Service) -> Iterator[Nginx]:
    """nginx in front of it."""
    program("nginx")
    with Nginx(service.port) as server:
        yield server


@pytest.fixture
def client(nginx: Nginx) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{nginx.port}", timeout=20) as client:
        yield client


def test_a_lead_goes_through_and_its_answer_is_untouched(service: Service, client: httpx.Client):
    headers = {**service.headers(), "X-Request-Id": "through-nginx"}

    answer = client.post("/api/leads", json=a_lead(), headers=headers)

    assert answer.status_code == 202
    assert answer.headers.get_list("X-Request-Id") == ["through-nginx"]
    assert answer.headers["X-RateLimit-Limit"] == "500"
    service.wait_until_stored(answer.json()["data"]["id"])


def test_a_forged_address_does_not_change_whose_rate_limit_is_used(client: httpx.Client):
    left = []
    for number in range(4):
        forged = {
            "X-Forwarded-For": f"203.0.113.{number}, 198.51.100.{number}",
            "X-Real-IP": "203.0.113.9",
            "Forwarded": "for=203.0.113.8",
        }
        left.append(int(client.get("/api/leads", headers=forged).headers["X-RateLimit-Remaining"]))

    assert left == list(range(left[0], left[0] - 4, -1))


@pytest.mark.parametrize(
    "path", ["/metrics", "//metrics", "/api/../metrics", "/health/..%2fmetrics", "/api/%2e%2e/metrics", "/", "/x"]
)
def test_what_is_not_for_the_outside_is_not_found(nginx: Nginx, client: httpx.Client, path: str):
    with socket.create_connection(("127.0.0.1", nginx.port), 10) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: raw.recv(65536), b"")).partition(b"\r\n\r\n")

    assert head.split()[1] == b"404"
    assert b"X-Request-Id: " in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert body == b'{"status":"error","code":404,"message":"Not Found"}'


def test_the_limits_on_bodies_are_those_of_the_service(service: Service, client: httpx.Client):
    headers = {**service.headers(), "Content-Type": "application/json"}

    for path, most in (("/api/leads", 1 << 20), ("/api/leads/bulk", 8 << 20)):
        assert client.post(path, content=b" " * most, headers=headers).status_code == 400
        over = client.post(path, content=b" " * (most + 1), headers=headers)
        assert over.status_code == 413
        assert over.json() == {"status": "error", "code": 413, "message": "The body is too large."}


def test_a_slow_body_holds_no_api_process(service: Service, nginx: Nginx):
    head = "POST /api/leads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", nginx.port), 10) as slow:
        slow.sendall(head.encode())
        started = time.monotonic()
        while time.monotonic() - started < 1:
            assert service.get("/health/live").status_code == 200

        # The service gives a body five seconds, nginx fifteen: it has not been sent on.
        log = (service.data / "logs" / "api.log").read_text()
    assert '"status":408' not in log


def test_long_json_is_compressed_for_those_who_ask(service: Service, client: httpx.Client):
    for accepted, encoding in (("gzip", "gzip"), ("identity", None)):
        answer = client.get("/api/openapi.json", headers={"Accept-Encoding": accepted})
        assert answer.headers.get("Content-Encoding") == encoding
        assert answer.json()["openapi"].startswith("3.1")


def test_the_page_of_the_docs_keeps_its_own_policy(client: httpx.Client):
    (policy,) = client.get("/api/docs").headers.get_list("Content-Security-Policy")
    (strict,) = client.get("/health/live").headers.get_list("Content-Security-Policy")

    assert "default-src 'self'" in policy
    assert "default-src 'none'" in strict


def test_the_log_names_no_path_query_or_address(service: Service, nginx: Nginx, client: httpx.Client):
    client.get("/api/leads", params={"email": "private.person@example.com"}, headers=service.headers())
    client.get("/private-path")

    assert '"method":"GET"' in nginx.log
    for piece in ("private", "/api/leads", "127.0.0.1,", "Bearer"):
        assert piece not in nginx.log


def test_the_site_is_served_over_tls_and_http_2(service: Service):
    with Nginx(service.port, tls=True) as server:
        curl = [program("curl"), "--silent", "--insecure", "--http2", "--write-out", "\n%{http_code} %{http_version}"]
        done = subprocess.run(
            [*curl, f"https://127.0.0.1:{server.tls_port}/health/live"], capture_output=True, text=True, check=False
        )

    assert done.stdout.splitlines()[-1] == "200 2", done.stdout + done.stderr + server.log


def test_while_nobody_answers_the_error_is_in_the_envelope():
    program("nginx")
    with Nginx(free_port()) as alone:
        answer = httpx.post(f"http://127.0.0.1:{alone.port}/api/leads", json=a_lead())

    assert answer.status_code == 503
    assert answer.json() == {
        "status": "error",
        "code": 503,
        "message": "The service does not answer.",
        "retry_after": 2,
    }
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["X-Request-Id"]


def test_one_reader_does_not_stop_the_intake(service: Service, client: httpx.Client):
    widest, sign = "\U0001f600" * 254, "\U0001f600"
    long = {
        "email": widest,
        "phone": "+" + "1" * 253,
        "limit": "1" * 254,
        "page": "9" * 254,
        "cursor": "A" * 4000,
        "sortBy": widest,
        "order": widest,
        "createdFrom": widest,
        "createdTo": widest,
        "from": widest,
        "to": widest,
        "interval": widest,
        "format": widest,
        sign * 100: widest,
    }
    headers = service.headers()
    for path in ("/api/leads", "/api/leads/export", "/api/leads/stats", "/api/dead-letters"):
        for name, value in long.items():
            for _ in range(3):
                assert client.get(path, params={name: value}, headers=headers).status_code in (200, 400, 403)
        whole = {"email": widest, "phone": "+" + "1" * 60, "limit": "100", "sortBy": "createdAt", "order": "desc"}
        for _ in range(10):
            assert client.get(path, params=whole, headers=headers).status_code in (200, 400, 403)

        answer = client.post("/api/leads", json=a_lead(), headers=headers)
        assert answer.status_code == 202, answer.text
        assert client.get("/health/live").status_code == 200


def test_what_fails_at_one_replica_does_not_put_it_out(service: Service):
    text = (ROOT / "compose" / "production" / "nginx" / "upstream-resolving.conf").read_text()

    assert "max_fails=0" in text
