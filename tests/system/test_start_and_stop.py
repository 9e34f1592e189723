"""Starting again, and stopping whatever goes on at the time."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import STOP_DEADLINE, Service

from . import raw

# Seconds. The first start makes keys and tables, those after it find them.
SECOND_START = 20.0

# Seconds until nothing is left of a service whose supervisor was killed.
ALL_GONE = 20.0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on one data dir for all tests of this module."""
    with Service(tmp_path_factory.mktemp("again")) as service:
        yield service


@pytest.fixture
def own(data: Service) -> Service:
    """That service, running."""
    if data.process is None or data.process.poll() is not None:
        data.start()
    return data


def assert_nothing_is_left(service: Service, family: list[psutil.Process], within: float = 10.0) -> None:
    assert family
    until(lambda: not service.left_behind(family), within, 0.1)
    for port in (service.settings["http_port"], service.settings["flower_port"]):
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 1):
            pass


def test_a_signal_stops_everything_in_five_seconds_and_the_next_start_goes_on(own: Service):
    user = "keeper@example.com"
    made = own.user("create", user, "--role", "read", password="a long password")
    assert made.returncode == 0, made.stderr
    own.wait_until_stored(*own.accept(*[a_lead() for _ in range(30)]))
    before = own.page(limit=20, sortOrder="ASC")["items"]
    cursor = own.page(limit=5, sortOrder="ASC")["pagination"]["next_cursor"]
    family = own.family()
    with ExitStack() as connections:
        # Clients that are idle, in the middle of a head, in the middle of a body.
        for start in (b"", b"GET /api/le", raw.request(own, "POST", "/api/leads", Content_Length="10") + b"{"):
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", own.port), 5))
            connection.sendall(start)
        ids = own.accept(*[a_lead() for _ in range(400)])
        stopped = time.monotonic()

        status = own.stop(signal.SIGTERM)

    assert time.monotonic() - stopped < STOP_DEADLINE
    assert status == 0
    assert own.errors == ""
    assert_nothing_is_left(own, family)

    started = time.monotonic()
    own.start()

    assert time.monotonic() - started < SECOND_START
    own.wait_until_stored(*ids)
    # The token and the cursor of the first run are good in the second.
    assert own.page(limit=20, sortOrder="ASC")["items"] == before
    assert own.page(limit=5, sortOrder="ASC", cursor=cursor)["items"] == before[5:10]
    assert own.token(user, "a long password")


def test_a_killed_supervisor_leaves_no_process_and_the_next_start_works(own: Service):
    family = own.family()
    ids = own.accept(*[a_lead() for _ in range(400)])
    assert own.process is not None

    own.process.kill()
    own.process.wait()

    assert_nothing_is_left(own, family, ALL_GONE)
    own.start()
    own.wait_until_stored(*ids)


def test_ctrl_c_stops_everything_too_even_during_the_start(own: Service):
    family = own.family()
    assert own.stop(signal.SIGINT) == 0
    assert own.errors == ""
    assert_nothing_is_left(own, family)
    process = own.launch()
    until(lambda: len(own.family()) >= 4, 20, 0.02)
    family = own.family()

    process.send_signal(signal.SIGINT)

    assert process.wait(2 * SECOND_START) == 0
    assert "Traceback" not in own.errors
    assert_nothing_is_left(own, family)
