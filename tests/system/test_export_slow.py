"""An export whose reader is slow, or stops for good: nobody else feels it, and nothing is held for ever."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.kit.leads import a_lead, assert_error
from tests.kit.servers import until
from tests.kit.service import PASSWORD, Service

from . import raw

# Leads of some 16 KiB: more than all buffers between the service and its reader hold.
NUMBER = 2000
FILLING = "x" * 15_000

SEND_TIMEOUT = 5  # seconds

# What a process may grow by while it sends an export of thirty times as much, the reads beside it included.
GROWTH = 24 * 1024 * 1024


USERS = ("one@example.com", "two@example.com")


@pytest.fixture(scope="module")
def bulky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory: Path = tmp_path_factory.mktemp("bulky")
    with Service(directory, http_workers=1, http_send_timeout=SEND_TIMEOUT) as service:
        for _ in range(0, NUMBER, 200):
            leads = [a_lead(additionalData={"filling": FILLING}) for _ in range(200)]
            answer = service.post("/api/leads/bulk", leads)
            assert answer.json()["data"]["accepted"] == 200
        service.wait_until_nothing_waits()
        yield service


def ask(service: Service, token: str = "") -> socket.socket:
    """Ask for everything on a connection that takes little at a time."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", service.port))
    authorization = service.headers(token)["Authorization"]
    connection.sendall(raw.request(service, "GET", "/api/leads/export?format=ndjson", Authorization=authorization))
    return connection


def memory(service: Service) -> int:
    """Return the resident bytes of the process that answers."""
    return max(each.memory_info().rss for each in service.one("api").children())


def connections(service: Service) -> int:
    """Return how many connections clients have to the service."""
    found = psutil.net_connections("tcp")
    return sum(1 for each in found if each.laddr and each.laddr.port == service.port and each.status == "ESTABLISHED")


def test_a_slow_reader_gets_everything_once_and_costs_no_memory(bulky: Service):
    expected = bulky.get("/api/leads/export?format=ndjson").content.decode().split("\n")[:-1]
    assert len(expected) == NUMBER
    before = memory(bulky)

    received = bytearray()
    most = before
    with ask(bulky) as connection:
        # It reads a little, and others are answered meanwhile
        for _ in range(20):
            received += connection.recv(65536)
            assert bulky.get("/api/leads?limit=1").status_code == 200
            most = max(most, memory(bulky))
        assert len(received) < NUMBER * len(FILLING) / 2, "it was not slow: nothing was kept back"
        # and then the rest
        while not received.endswith(b"0\r\n\r\n"):
            piece = connection.recv(1 << 20)
            assert piece, "broken off"
            received += piece

    assert most - before < GROWTH
    assert raw_lines(bytes(received)) == expected
    assert len({json.loads(line)["id"] for line in expected}) == NUMBER


def raw_lines(answer: bytes) -> list[str]:
    """Return the lines of an answer in HTTP's chunked coding."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    body = bytearray()
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        rest = rest[length + 2 :]
    return body.decode().split("\n")[:-1]


def test_a_user_has_one_export_and_a_process_two_and_nobody_else_waits_for_them(bulky: Service):
    for name in USERS:
        assert bulky.user("create", name, "--role", "export", password=PASSWORD).returncode == 0
    tokens = [bulky.token(name, PASSWORD) for name in USERS]

    def export(token: str = "") -> httpx.Response:
        return bulky.get("/api/leads/export?format=ndjson&email=nobody@example.com", token=token)

    with ask(bulky) as first:
        assert first.recv(1000).startswith(b"HTTP/1.1 200")
        again = export()
        body = assert_error(again, 429, "You have an export already.")
        assert again.headers["Retry-After"] == str(body["retry_after"])
        # Others have the second place, one after the other,
        assert [export(token).status_code for token in tokens] == [200, 200]
        with ask(bulky, tokens[0]) as second:
            assert second.recv(1000).startswith(b"HTTP/1.1 200")
            # and while it is taken they come later.
            assert_error(export(tokens[1]), 503, "Too many exports are being sent.")
            assert bulky.client.head("/api/leads/export", headers=bulky.headers(tokens[1])).status_code == 503
            assert bulky.get("/api/leads?limit=100").status_code == 200
            login = {"email": USERS[1], "password": PASSWORD}
            assert bulky.post("/api/login_check", login, token=None).status_code == 200
        until(lambda: export(tokens[1]).status_code == 200)
    until(lambda: export().status_code == 200)
    for _ in range(3):
        assert bulky.client.head("/api/leads/export", headers=bulky.headers()).status_code == 200
        assert_error(bulky.get("/api/leads/export?page=1"), 400)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux's kernel breaks it off")
def test_a_reader_that_stops_for_good_is_let_go(bulky: Service):
    bulky.client.close()
    connection = ask(bulky)
    try:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert connections(bulky) >= 1
        begun = time.monotonic()

        until(lambda: connections(bulky) == 0, SEND_TIMEOUT + 40, 0.2)

        assert time.monotonic() - begun >= 1
    finally:
        connection.close()
