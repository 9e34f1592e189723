"""What is set and seen on the sockets on which an API process listens."""

import errno
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

# Seconds between two tries at a port that is in use.
PORT_CHECK = 0.2


def check_free(host: str, port: int, within: float) -> None:
    """Return once nobody listens on the port: API processes share it (SO_REUSEPORT), and so would another service.

    Raises OSError when the address is not of this machine, or the port is in use still after `within` seconds.
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
    """Let the kernel break off a connection whose peer takes nothing for so long: the server itself would wait."""
    # RFC 5482. Linux counts the time in which the peer's window is closed as well; connections inherit it.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)


def has_pending_connections(listeners: Sequence[Any]) -> bool:
    """Tell whether a connection waits in an accept queue. The kernel resets those that wait when a listener closes."""
    waiting = select.poll()
    for each in listeners:
        waiting.register(each, select.POLLIN)
    return bool(waiting.poll(0))
