"""nginx under attack: what one client can do to the others."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.kit.nginx import Nginx
from tests.kit.ports import free_port
from tests.kit.servers import program, until
from tests.kit.service import Service

from . import raw

MIB = 1024 * 1024

EMOJI = "\U0001f600"

# Values of each parameter of a list, an export or the statistics: the longest that is allowed, and longer ones.
LONG = {
    "email": [EMOJI * 254, EMOJI * 300],
    "phone": ["+" + "1" * 253, EMOJI * 254],
    "limit": ["100", "1" * 254],
    "page": ["100000", "9" * 254],
    "cursor": ["A" * 4000],
    "sortBy": ["lastName", EMOJI * 254],
    "sortOrder": ["DESC", EMOJI * 254],
    "createdFrom": ["2026-01-01T00:00:00.000000+00:00", EMOJI * 254],
    "createdTo": ["2026-01-01T00:00:00.000000+00:00", EMOJI * 254],
    "from": ["2026-01-01T00:00:00.000000+00:00", EMOJI * 254],
    "to": ["2026-12-31T00:00:00.000000+00:00", EMOJI * 254],
    "interval": ["minute", EMOJI * 254],
    "format": ["ndjson", EMOJI * 254],
    EMOJI * 100: [EMOJI * 254],
}


@pytest.fixture(scope="module", autouse=True)
def an_nginx() -> None:
    """Skip without one."""
    program("nginx")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that believes what a proxy on loopback says."""
    with Service(tmp_path_factory.mktemp("door"), rate_limit=0, trusted_proxies="127.0.0.1/32") as service:
        service.wait_until_stored(*service.accept(*[a_lead(email="a@example.com") for _ in range(150)]))
        yield service


def client_of(nginx: Nginx) -> httpx.Client:
    """Return a client that goes through nginx."""
    return httpx.Client(base_url=f"http://127.0.0.1:{nginx.port}", timeout=20)


def assert_refused(answer: httpx.Response, code: int, message: str) -> None:
    """Check an answer of nginx's own."""
    assert answer.status_code == code, answer.text
    expected = {"status": "error", "code": code, "message": message}
    if code in (429, 503):
        expected["retry_after"] = 2
        assert answer.headers["Retry-After"] == "2"
    assert answer.json() == expected
    assert answer.headers["X-Request-Id"]


def test_one_reader_does_not_stop_the_intake(service: Service):
    headers = service.headers()
    with Nginx(service.port, second=service.port) as nginx, client_of(nginx) as client:
        for path in ("/api/leads", "/api/leads/export", "/api/leads/stats"):
            for name, values in LONG.items():
                for value in values:
                    for _ in range(3):
                        answer = client.get(path, params={name: value}, headers=headers)
                        assert answer.status_code in (200, 400), answer.text
            assert client.post("/api/leads", json=a_lead(), headers=headers).status_code == 202
            assert client.get("/health/live").status_code == 200
        # All that fits at once, where there is a page before and one after.
        whole = {"email": EMOJI * 254, "phone": EMOJI * 64, "limit": "1", "page": "2", "createdFrom": "2026-01-01"}
        for _ in range(6):
            assert client.get("/api/leads", params=whole, headers=headers).status_code in (200, 400)
        assert client.post("/api/leads", json=a_lead(), headers=headers).status_code == 202


class BrokenReplica:
    """Takes requests and hangs up on each."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.requests: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                self.requests.append(connection.recv(MIB))


def test_a_replica_that_is_gone_is_passed_over(service: Service):
    service.wait_until_nothing_waits()
    before = service.page(limit=1)["pagination"]["total"]
    with Nginx(service.port, second=free_port()) as nginx, client_of(nginx) as client:
        answers = [client.post("/api/leads", json=a_lead(), headers=service.headers()) for _ in range(40)]

    assert {answer.status_code for answer in answers} == {202}
    service.wait_until_nothing_waits()
    assert service.page(limit=1)["pagination"]["total"] == before + 40


def test_a_post_that_was_sent_is_not_sent_again(service: Service):
    broken = BrokenReplica()
    service.wait_until_nothing_waits()
    before = service.page(limit=1)["pagination"]["total"]
    with Nginx(service.port, second=broken.port) as nginx, client_of(nginx) as client:
        codes = [client.post("/api/leads", json=a_lead(), headers=service.headers()).status_code for _ in range(20)]
        reads = [client.get("/api/leads", headers=service.headers()).status_code for _ in range(20)]

    posts = [request for request in broken.requests if request.startswith(b"POST")]
    assert codes.count(202) == 20 - len(posts) < 20
    assert codes.count(503) == len(posts)
    assert set(reads) == {200}
    service.wait_until_nothing_waits()
    assert service.page(limit=1)["pagination"]["total"] == before + codes.count(202)


def burst(nginx: Nginx, number: int, last: bytes = b"") -> list[tuple[bytes, bytes]]:
    """Send so many requests, and a last one, as fast as they go; return the answers' heads and bodies."""
    requests = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * number + last
    with socket.create_connection(("127.0.0.1", nginx.port), raw.TIMEOUT) as connection:
        sender = threading.Thread(target=connection.sendall, args=(requests,))
        sender.start()
        answers = b""
        while answers.count(b"HTTP/1.1 ") < number + bool(last) or not answers.endswith(b"}"):
            piece = connection.recv(MIB)
            assert piece
            answers += piece
        sender.join()
    return [answer.partition(b"\r\n\r\n")[::2] for answer in answers.split(b"HTTP/1.1 ")[1:]]


def codes_of(answers: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the status codes."""
    return [head[:3] for head, _ in answers]


def test_a_flood_is_refused_before_a_body_is_read(service: Service):
    post = raw.request(service, "POST", "/api/leads/bulk", Content_Length=str(8 * MIB))
    # With no API behind it, as that would slow the flood down.
    with Nginx(free_port(), LEADS_RATE_LIMIT=100) as nginx:

        def flooded() -> list[tuple[bytes, bytes]] | None:
            # 200 a second pass: the last one may be among them, and waits for its body.
            with suppress(TimeoutError):
                return burst(nginx, 5000, post)
            return None

        first = codes_of(burst(nginx, 2000))
        head, body = until(flooded, 60)[-1]

    # More than the API's hundred come through at once: its own limit is the one that an honest client meets.
    assert first[:400] == [b"503"] * 400
    assert b"429" in first
    assert head.startswith(b"429")
    assert b"Retry-After: 2" in head
    assert b'"message":"Too many requests or connections at once."' in body


@pytest.mark.parametrize(
    "settings",
    [
        {"LEADS_RATE_LIMIT": 0},
        {"LEADS_RATE_LIMIT": 12000},
        {"LEADS_RATE_LIMIT": 100, "LEADS_RATE_LIMIT_EXEMPT": "192.0.2.0/24,127.0.0.0/8"},
    ],
    ids=["off", "large", "exempt"],
)
def test_whom_the_api_lets_send_more_nginx_does_too(service: Service, settings: dict[str, object]):
    with Nginx(service.port, **settings) as nginx:
        for _ in range(6):
            assert set(codes_of(burst(nginx, 500))) == {b"200"}


def test_connections_are_bounded_by_address(service: Service):
    head = raw.request(service, "POST", "/api/leads", Content_Length="100")
    with Nginx(service.port, LEADS_PUBLIC_CONNECTIONS=20) as nginx, ExitStack() as connections:
        for _ in range(20):
            slow = connections.enter_context(socket.create_connection(("127.0.0.1", nginx.port), raw.TIMEOUT))
            slow.sendall(head)

        def refused() -> httpx.Response | None:
            with client_of(nginx) as client:
                answer = client.get("/api/openapi.json")
            return answer if answer.status_code == 429 else None

        assert_refused(until(refused), 429, "Too many requests or connections at once.")
        with socket.create_connection(("127.0.0.1", nginx.port), raw.TIMEOUT, ("127.0.0.2", 0)) as other:
            other.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.receive(other).status_code == 200


def test_when_the_place_for_bodies_is_full_the_intake_of_leads_goes_on(service: Service):
    if subprocess.run(["unshare", "--map-root-user", "--mount", "true"], check=False).returncode:
        pytest.skip("no mounts of one's own here")
    head = raw.request(service, "POST", "/api/leads/bulk", Content_Length=str(8 * MIB))
    body = b"[" + b" " * (3 * MIB) + b"]"
    headers = {**service.headers(), "Content-Type": "application/json"}
    with Nginx(service.port, room="4m") as nginx, ExitStack() as connections, client_of(nginx) as client:
        slow = connections.enter_context(socket.create_connection(("127.0.0.1", nginx.port), raw.TIMEOUT))
        slow.sendall(head + b" " * (2 * MIB))

        def refused() -> httpx.Response | None:
            answer = client.post("/api/leads/bulk", content=body, headers=headers)
            return answer if answer.status_code == 503 else None

        assert_refused(until(refused), 503, "There is no room for this request now.")
        assert client.post("/api/leads", json=a_lead(), headers=headers).status_code == 202

        connections.close()
        until(lambda: client.post("/api/leads/bulk", content=body, headers=headers).status_code == 400)


def test_with_tls_the_plain_port_only_shows_the_way(service: Service):
    with Nginx(service.port, tls=True) as nginx, client_of(nginx) as client:
        for method in ("GET", "HEAD"):
            answer = client.request(method, "/api/leads?page=2", headers=service.headers())
            assert answer.status_code == 308
            assert answer.headers["Location"] == f"https://127.0.0.1:{nginx.tls_port}/api/leads?page=2"
            assert "Strict-Transport-Security" not in answer.headers
        credentials = {"email": "test@example.com", "password": "password123"}
        for path in ("/api/login_check", "/api/leads", "/x"):
            answer = client.post(path, json=credentials)
            assert_refused(answer, 403, "This service answers over HTTPS only.")
        with httpx.Client(base_url=f"https://127.0.0.1:{nginx.tls_port}", verify=False) as secure:
            assert secure.post("/api/login_check", json=credentials).status_code == 200
            assert secure.get("/health/live").headers["Strict-Transport-Security"]


@pytest.fixture(scope="module")
def nginx(service: Service) -> Iterator[Nginx]:
    """nginx that does not count."""
    with Nginx(service.port, LEADS_RATE_LIMIT=0) as server:
        yield server


def test_from_outside_ready_has_no_numbers(service: Service, nginx: Nginx):
    with client_of(nginx) as client:
        answer = client.get("/health/ready", headers={"X-Forwarded-For": ""})

    assert answer.status_code == 200
    assert answer.json()["data"] == {"queue": True, "database": True}


@pytest.mark.parametrize("method", ["FOO", "PROPFIND", "TRACE"])
def test_an_unknown_method_is_405(nginx: Nginx, method: str):
    answer = exchanged(nginx, f"{method} /api/leads HTTP/1.1\r\nHost: x\r\n\r\n")

    assert_refused(answer, 405, "Method Not Allowed")
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("head", "code", "message"),
    [
        ("get /api/leads HTTP/1.1\r\nHost: x\r\n\r\n", 400, "Bad Request"),
        ("GET /api/leads HTTP/3.0\r\nHost: x\r\n\r\n", 400, "Bad Request"),
        ("GET /api/leads HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "Bad Request"),
        (f"GET /api/leads HTTP/1.1\r\nHost: x\r\nX: {'x' * 20000}\r\n\r\n", 400, "Bad Request"),
        (f"GET /api/leads?{'x' * 20000} HTTP/1.1\r\nHost: x\r\n\r\n", 414, "URI Too Long"),
    ],
)
def test_what_is_no_request_is_refused_in_the_envelope(nginx: Nginx, head: str, code: int, message: str):
    assert_refused(exchanged(nginx, head), code, message)


def exchanged(nginx: Nginx, request: str) -> httpx.Response:
    """Send a request of bytes; return the answer."""
    with socket.create_connection(("127.0.0.1", nginx.port), raw.TIMEOUT) as connection:
        connection.sendall(request.encode())
        return raw.receive(connection)


def test_a_method_that_the_path_has_not_is_refused_by_the_api(nginx: Nginx):
    with client_of(nginx) as client:
        answer = client.delete("/api/leads")

    assert answer.status_code == 405
    assert answer.headers.get_list("Allow") == ["GET, HEAD, POST, OPTIONS"]


@pytest.mark.parametrize(
    ("path", "size"),
    [("/api/leads", MIB + 1), ("/api/leads", 2 * MIB), ("/api/leads", 20 * MIB), ("/api/leads/bulk", 9 * MIB)],
)
def test_a_413_is_read_by_a_client_that_sends_its_whole_body_first(
    service: Service, nginx: Nginx, path: str, size: int
):
    for answer in raw.sent_whole(service, nginx.port, path, size, 20):
        assert_refused(answer, 413, "The body is too large.")
