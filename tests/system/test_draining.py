"""An API process that stops with LEADS_HTTP_DRAIN: whoever holds a connection to it notices nothing."""

import http.client
import json
import socket
from pathlib import Path

import pytest

from tests.servers import until

from .leads import a_lead
from .service import Service

DRAIN = 6


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


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


@pytest.mark.parametrize("drain", [-1, "long"])
def test_a_wrong_time_is_named(tmp_path: Path, drain: object):
    service = Service(tmp_path, http_drain=drain)
    process = service.launch()

    assert process.wait(30) == 2
    assert "LEADS_HTTP_DRAIN" in service.errors
