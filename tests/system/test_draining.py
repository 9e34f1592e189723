"""An API process that stops with LEADS_HTTP_DRAIN: whoever holds a connection to it notices nothing."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import Service

from .test_sudden_death import is_another

DRAIN = 6

# Clients that open a connection for each request, and stops that they live through.
CLIENTS = 24
STOPS = 4


class Clients:
    """Send leads from many threads, each lead on a connection of its own; `seen` counts what became of them."""

    def __init__(self, service: Service) -> None:
        self.seen: Counter[str] = Counter()
        self._port = service.port
        self._headers = service.headers() | {"Content-Type": "application/json", "Connection": "close"}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> "Clients":
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()

    def _run(self) -> None:
        while not self._over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                connection.connect()
            except ConnectionRefusedError:
                self.seen["refused"] += 1
                time.sleep(0.02)
                continue
            except OSError as error:
                self.seen[type(error).__name__] += 1
                continue
            try:
                connection.request("POST", "/api/leads", json.dumps(a_lead()), self._headers)
                self.seen[str(connection.getresponse().status)] += 1
            except (OSError, http.client.HTTPException) as error:
                self.seen[type(error).__name__] += 1
            finally:
                connection.close()


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def serves(service: Service) -> bool:
    """Tell whether the process that a new connection leads to answers."""
    try:
        headers = {"Connection": "close"}
        return httpx.get(f"{service.base_url}/health/live", headers=headers, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.slow
def test_open_connections_are_served_until_they_are_let_go_and_new_ones_refused(tmp_path: Path):
    with Service(tmp_path, http_workers=2, http_drain=DRAIN) as service:
        lead = service.headers() | {"Content-Type": "application/json"}
        service.client.close()
        connections = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=20) for _ in range(3)]
        for connection in connections:
            connection.request("GET", "/health/live")
            assert connection.getresponse().read()
        service.one("api").terminate()
        until(lambda: refuses(service.port), 10, 0.02)

        for connection in connections[:2]:
            connection.request("POST", "/api/leads", json.dumps(a_lead()), lead)
            answer = connection.getresponse()
            assert answer.status == 202
            assert answer.headers["Connection"] == "close"
        for connection in connections:
            connection.close()

        # Nobody holds it any more, so it does not wait for all of its time.
        until(lambda: not refuses(service.port), 30, 0.05)


@pytest.mark.slow
def test_a_connection_that_was_let_in_is_answered(tmp_path: Path):
    with Service(tmp_path, http_workers=2, http_drain=DRAIN) as service, Clients(service) as clients:
        for _ in range(STOPS):
            time.sleep(0.5)
            stopped = service.one("api")
            stopped.terminate()
            until(lambda stopped=stopped: is_another(service.find("api"), stopped), 30)
            # Until both processes serve: one that is stopped before that has let in what it cannot answer.
            until(lambda: len(service.one("api").children()) == 2, 30, 0.05)
            until(lambda: all(serves(service) for _ in range(20)), 60, 0.2)

    # The kernel may let in one more between the last look at the accept queue and its end, and resets that one.
    reset = clients.seen.pop("ConnectionResetError", 0) + clients.seen.pop("RemoteDisconnected", 0)
    assert clients.seen.keys() == {"202", "refused"}
    assert reset <= STOPS * 2, clients.seen


@pytest.mark.parametrize("drain", [-1, "long"])
def test_a_wrong_time_is_named(tmp_path: Path, drain: object):
    service = Service(tmp_path, http_drain=drain)
    process = service.launch()

    assert process.wait(30) == 2
    assert "LEADS_HTTP_DRAIN" in service.errors
