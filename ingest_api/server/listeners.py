"""Listening sockets: a check that the port is free, the send timeout, the accept queue."""

import errno
import select
import socket
import time
from typing import Any

# Interval (seconds) between two tries at a port in use.
PORT_CHECK = 0.2


def check_free(host: str, port: int, within: float) -> None:
    """Block until nobody listens on the port. With SO_REUSEPORT a second service could bind it without an error.

    Raises OSError when the address is not of this machine, or the port is still in use after `within` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(PORT_CHECK)


def set_send_timeout(listener: Any, seconds: int) -> None:
    """Let the kernel abort a connection whose peer reads nothing for so long; uvicorn has no such timeout."""
    # RFC 5482. Connections inherit the option; Linux also counts the time in which the peer's window is closed.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)


def has_pending_connections(listener: Any) -> bool:
    """Tell whether a connection waits in the accept queue. Closing a listener resets its waiting connections."""
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    return bool(waiting.poll(0))
