"""ingest_api.server.listeners: whose port it is."""

import socket
import threading
import time

import pytest

from ingest_api.server.listeners import check_free, has_pending_connections


def listening() -> socket.socket:
    """Listen as an API process does, on a free port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def test_a_port_on_which_another_service_listens_is_not_shared_with_it():
    with listening() as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            check_free("127.0.0.1", port, 0.1)

    check_free("127.0.0.1", port, 0.1)


def test_a_port_that_is_let_go_meanwhile_is_free():
    other = listening()
    port = other.getsockname()[1]
    began = time.monotonic()
    threading.Timer(0.3, other.close).start()

    check_free("127.0.0.1", port, 10)

    assert time.monotonic() - began >= 0.3


def test_an_address_of_another_machine_is_told_at_once():
    with pytest.raises(OSError, match="assign"):
        check_free("192.0.2.1", 0, 60)


def test_a_connection_that_nobody_accepted_is_seen():
    with listening() as listener, socket.socket() as client:
        assert not has_pending_connections(listener)
        client.connect(listener.getsockname())
        assert has_pending_connections(listener)
        listener.accept()[0].close()
        assert not has_pending_connections(listener)
