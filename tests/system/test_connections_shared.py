"""Connections that come all at once are shared by the API processes."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.kit.servers import until
from tests.kit.service import Service

PROCESSES = 2
BURST = 32

# Accept queues of each process, each of which gives the event loop one connection in a turn.
QUEUES = 16

# On a busy machine a process may get no turn for so long that another takes more than its share: that is no defect.
TRIES = 5


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory: Path = tmp_path_factory.mktemp("shared")
    with Service(directory, http_workers=PROCESSES) as service:
        yield service


def test_a_burst_of_connections_is_shared(shared: Service) -> None:
    for _ in range(TRIES):
        with ExitStack() as opened:
            burst = [opened.enter_context(socket.socket()) for _ in range(BURST)]
            for each in burst:
                each.setblocking(False)
            for each in burst:
                each.connect_ex(("127.0.0.1", shared.port))
            until(lambda: sum(_open(shared)) >= BURST, 20, 0.02)
            counts = _open(shared)
        until(lambda: sum(_open(shared)) == 0, 20, 0.02)
        if len(counts) == PROCESSES and min(counts) >= BURST // 8:
            return
    raise AssertionError(f"connections of each process: {counts}")


def test_each_process_takes_a_burst_from_many_accept_queues(shared: Service) -> None:
    queues = [_count(process, shared.port, psutil.CONN_LISTEN) for process in _processes(shared)]

    assert queues == [QUEUES] * PROCESSES


def test_a_process_that_is_gone_leaves_them_to_the_other(shared: Service) -> None:
    _processes(shared)[0].kill()
    answered = 0
    for _ in range(BURST):
        with suppress(OSError), socket.create_connection(("127.0.0.1", shared.port), 5) as client:
            client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answered += client.recv(12) == b"HTTP/1.1 200"
    # The kernel may have let some in that nobody lives to answer.
    assert answered >= BURST // 2


def _processes(service: Service) -> list[psutil.Process]:
    """Return the API's processes: those that gunicorn's master has made."""
    master = service.one("api")
    return sorted(master.children(), key=lambda each: each.pid)


def _open(service: Service) -> list[int]:
    """Return how many connections each API process has accepted."""
    return [_count(process, service.port, psutil.CONN_ESTABLISHED) for process in _processes(service)]


def _count(process: psutil.Process, port: int, status: str) -> int:
    """Return how many sockets at `port` a process has in a state."""
    found = process.net_connections(kind="tcp")
    return sum(each.status == status and bool(each.laddr) and each.laddr.port == port for each in found)
