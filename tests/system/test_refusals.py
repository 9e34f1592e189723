"""What a service with short timeouts and a small queue refuses: a full queue and slow bodies."""

import itertools
import json
import socket
import time

import httpx
import pytest

from tests.kit.leads import a_lead, assert_error
from tests.kit.service import Service

from . import raw

_clients = itertools.count(1)


def post(service: Service, path: str, body: object) -> httpx.Response:
    """POST as a client that has not been here before."""
    return service.post(path, body, X_Forwarded_For=f"10.10.0.{next(_clients)}")


def test_more_leads_than_the_queue_holds_are_503_as_a_whole(strict: Service):
    leads = [a_lead(phone="+4450000") for _ in range(101)]

    answer = post(strict, "/api/leads/bulk", leads)

    body = assert_error(answer, 503)
    assert body["retry_after"] >= 1
    assert answer.headers["Retry-After"] == str(body["retry_after"])
    ready = strict.get("/api/leads", params={"phone": "+4450000"}, headers={"X-Forwarded-For": "10.10.1.1"})
    assert ready.json()["data"]["pagination"]["total"] == 0


def test_as_many_as_it_holds_are_taken(strict: Service):
    deadline = time.monotonic() + 30
    leads = [a_lead() for _ in range(100)]

    while (answer := post(strict, "/api/leads/bulk", leads)).status_code == 503:
        assert time.monotonic() < deadline

    assert answer.status_code == 202


@pytest.mark.parametrize("sent", [1, 50], ids=["a byte", "a part"])
def test_a_body_that_does_not_end_in_time_is_408(strict: Service, sent: int):
    body = json.dumps(a_lead()).encode()
    head = raw.request(strict, "POST", "/api/leads", Content_Length=str(len(body)))
    started = time.monotonic()

    answer = raw.exchange(strict, head + body[:sent])

    assert_error(answer, 408)
    assert 0.8 < time.monotonic() - started < 15


def test_a_body_that_does_not_begin_in_time_is_408_too(strict: Service):
    head = raw.request(strict, "POST", "/api/leads", Content_Length="100")

    assert_error(raw.exchange(strict, head), 408)


def test_a_body_that_drips_is_408_and_not_read_for_ever(strict: Service):
    head = raw.request(strict, "POST", "/api/leads", Content_Length="100000")
    with socket.create_connection(("127.0.0.1", strict.port), raw.TIMEOUT) as connection:
        connection.sendall(head)
        connection.settimeout(0.05)
        deadline = time.monotonic() + 20
        answered = False
        while not answered:
            assert time.monotonic() < deadline
            connection.sendall(b" ")
            try:
                answered = bool(connection.recv(1, socket.MSG_PEEK))
            except TimeoutError:
                continue
        connection.settimeout(raw.TIMEOUT)

        assert_error(raw.receive(connection), 408)
