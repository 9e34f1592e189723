"""compose/production/nginx, run by Debian's nginx in front of a service: what passes, and whose address it tells."""

import socket
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.kit.nginx import Nginx
from tests.kit.ports import free_port
from tests.kit.servers import program
from tests.kit.service import Service


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
    "path",
    [
        "/metrics",
        "//metrics",
        "/api/../metrics",
        "/health/..%2fmetrics",
        "/api/%2e%2e/metrics",
        "/page/../metrics",
        "/x",
    ],
)
def test_what_is_not_for_the_outside_is_not_found(nginx: Nginx, client: httpx.Client, path: str):
    with socket.create_connection(("127.0.0.1", nginx.port), 10) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: raw.recv(65536), b"")).partition(b"\r\n\r\n")

    assert head.split()[1] == b"404"
    assert b"X-Request-Id: " in head
    assert b"X-Content-Type-Options: nosniff" in head
    assert body == b'{"status":"error","code":404,"message":"Not Found"}'


def test_the_page_comes_through_with_its_own_policy_and_the_links_for_others(client: httpx.Client):
    page = client.get("/", headers={"Accept": "text/html"})
    links = client.get("/")
    policies = page.headers.get_list("Content-Security-Policy")

    assert page.text.startswith("<!doctype html>")
    assert client.get("/page/index.html").status_code == 200
    assert len(policies) == 1
    assert "script-src 'self'" in policies[0]
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers.get_list("X-Content-Type-Options") == ["nosniff"]
    assert links.json()["data"]["links"]["leads"] == "/api/leads"


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
