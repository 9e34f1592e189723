"""The API's own listener: refusals arrive at clients that are still sending, heads have a size and a time."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import redis

from tests.kit.leads import a_lead, assert_error
from tests.kit.servers import until
from tests.kit.service import Service

from . import raw

MIB = 1024 * 1024

# Times that each size is sent: a reset that comes at one time in ten is seen.
TIMES = 20

# Longest time (seconds) for a head; ingest_api/server/protocol.py has the constant.
HEAD_TIMEOUT = 15.0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one API process, which gives a body a second."""
    directory = tmp_path_factory.mktemp("edge")
    with Service(directory, rate_limit=0, http_workers=1, http_body_timeout=1) as service:
        service.token()
        yield service


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/api/leads", MIB + 1),
        ("/api/leads", 2 * MIB),
        ("/api/leads", 20 * MIB),
        ("/api/leads/bulk", 9 * MIB),
        ("/api/leads/bulk", 20 * MIB),
    ],
)
def test_a_413_is_read_by_a_client_that_sends_its_whole_body_first(own: Service, path: str, size: int):
    for answer in raw.sent_whole(own, own.port, path, size, TIMES):
        assert_error(answer, 413)


def test_what_is_dropped_takes_no_memory(own: Service):
    (process,) = own.one("api").children()
    before = process.memory_info().rss
    highest = before
    connections = []
    head = raw.request(own, "POST", "/api/leads", Content_Length=str(30 * MIB))
    try:
        for _ in range(8):
            connection = socket.create_connection(("127.0.0.1", own.port), raw.TIMEOUT)
            connections.append(connection)
            connection.sendall(head)
            for _ in range(28):
                connection.sendall(b" " * MIB)
                highest = max(highest, process.memory_info().rss)
    finally:
        for connection in connections:
            connection.close()

    # Of 224 MiB that were sent.
    assert highest - before < 40 * MIB


def test_who_sends_without_end_is_cut_off(own: Service):
    head = raw.request(own, "POST", "/api/leads", Content_Length=str(1 << 40))
    sent = 0
    with socket.create_connection(("127.0.0.1", own.port), raw.TIMEOUT) as connection:
        connection.sendall(head)
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < 200 * MIB:
                connection.sendall(b" " * MIB)
                sent += MIB

    assert 30 * MIB < sent < 60 * MIB


def test_a_408_is_read_by_a_client_that_goes_on_sending(own: Service):
    head = raw.request(own, "POST", "/api/leads", Content_Length=str(MIB))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", own.port), raw.TIMEOUT) as connection:
            connection.sendall(head)
            began = time.monotonic()
            # The pace is the point here: a body that never comes to its end within its second.
            while time.monotonic() - began < 2:
                connection.sendall(b" ")
                time.sleep(0.02)
            assert_error(raw.receive(connection), 408)


def sent(service: Service, content: bytes) -> httpx.Response:
    """Send bytes and return the answer to them, whenever it comes."""
    with socket.create_connection(("127.0.0.1", service.port), raw.TIMEOUT + HEAD_TIMEOUT) as connection:
        connection.sendall(content)
        return raw.receive(connection)


def test_an_unknown_method_is_405_and_nonsense_400_in_the_envelope(own: Service):
    before = metric(own, "unknown_method")

    unknown = sent(own, b"FOO /api/leads HTTP/1.1\r\nHost: x\r\n\r\n")
    nonsense = sent(own, b"GET /api/leads HTTP/1.1\r\nHost x\r\n\r\n")

    assert_refused(unknown, 405, "Method Not Allowed")
    assert "GET" in unknown.headers["Allow"]
    assert_refused(nonsense, 400, "The request is not valid HTTP.")
    assert metric(own, "unknown_method") == before + 1


def assert_refused(answer: httpx.Response, code: int, message: str) -> None:
    """Check an answer to what is no request: in the envelope, and not counted by the rate limit."""
    assert answer.status_code == code
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"]
    assert answer.json() == {"status": "error", "code": code, "message": message}


def metric(service: Service, reason: str) -> float:
    """Return how many were refused for a reason."""
    text = service.get("/metrics", token=None).text
    lines = [line for line in text.splitlines() if line.startswith(f'leads_rejected_total{{reason="{reason}"}}')]
    return float(lines[0].split()[1]) if lines else 0.0


@pytest.mark.parametrize("pieces", [1, 50])
def test_a_head_over_64_kib_is_431_and_one_below_is_read(own: Service, pieces: int):
    def head(size: int) -> bytes:
        start, end = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Filling: ", b"\r\n\r\n"
        return start + b"x" * (size - len(start) - len(end)) + end

    for size, code in ((64 * 1024, 200), (64 * 1024 + 1, 431), (200_000, 431)):
        content = head(size)
        step = -(-len(content) // pieces)
        with socket.create_connection(("127.0.0.1", own.port), raw.TIMEOUT) as connection:
            for start in range(0, len(content), step):
                connection.sendall(content[start : start + step])
            assert raw.receive(connection).status_code == code


def test_heads_of_a_long_pipeline_are_not_added_up(own: Service):
    one = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Filling: " + b"x" * 1000 + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", own.port), raw.TIMEOUT) as connection:
        sender = threading.Thread(target=connection.sendall, args=(one * 300,))
        sender.start()
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 300:
            piece = connection.recv(MIB)
            assert piece, answers[-500:]
            answers += piece
        sender.join()

    assert answers.count(b"HTTP/1.1 200") == 300


def test_silent_and_half_sent_connections_are_closed_and_idle_ones_stay(own: Service):
    opened = time.monotonic()
    idle = socket.create_connection(("127.0.0.1", own.port), 60)
    silent = socket.create_connection(("127.0.0.1", own.port), 60)
    half = socket.create_connection(("127.0.0.1", own.port), 60)
    second = socket.create_connection(("127.0.0.1", own.port), 60)
    alive = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with idle, silent, half, second:
        for connection in (idle, second):
            connection.sendall(alive)
            assert raw.receive(connection).status_code == 200
        half.sendall(b"GET /health/live HTTP/1.1\r\nHost")
        second.sendall(b"GET /health/live")

        # Then who sent nothing is closed, who sent half a head is told so, and whose request is done may wait
        assert silent.recv(10) == b""
        for connection in (half, second):
            assert_refused(raw.receive(connection), 408, "The head took too long to arrive.")
        assert HEAD_TIMEOUT - 1 < time.monotonic() - opened < HEAD_TIMEOUT + 10
        idle.sendall(alive)
        assert raw.receive(idle).status_code == 200


def test_asking_often_whether_it_is_ready_costs_nothing(own: Service):
    queue = redis.Redis(unix_socket_path=str(next(own.data.rglob("*.sock"))))

    def calls() -> int:
        return int(queue.info("commandstats").get("cmdstat_xlen", {}).get("calls", 0))

    until(lambda: own.ready().status_code == 200)
    before, began = calls(), time.monotonic()
    with httpx.Client(base_url=own.base_url) as client:
        for _ in range(300):
            assert client.get("/health/ready").status_code == 200
            assert client.get("/metrics").status_code == 200
    seconds = time.monotonic() - began

    assert calls() - before <= 40 + 20 * seconds


def test_who_asks_through_a_proxy_sees_no_ledger(own: Service):
    for header in ("X-Forwarded-For", "Forwarded"):
        answer = own.get("/health/ready", headers={header: "for=203.0.113.1"})
        assert answer.json()["data"] == {"queue": True, "database": True}
    until(lambda: own.get("/health/ready").json()["data"]["ledger"]["imbalance"] == 0)


def test_the_service_goes_on(own: Service):
    own.wait_until_stored(*own.accept(a_lead()))
