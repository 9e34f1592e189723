"""What is set and seen on the sockets on which an API process listens."""

import select
import socket
from collections.abc import Sequence
from typing import Any


def bound_sending(listener: Any, seconds: int) -> None:
    """Let the kernel break off a connection whose peer takes nothing for so long: the server itself would wait."""
    # RFC 5482. Linux counts the time in which the peer's window is closed as well; connections inherit it.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)


def has_unaccepted(listeners: Sequence[Any]) -> bool:
    """Tell whether a connection waits in an accept queue. The kernel resets those that wait when a listener closes."""
    waiting = select.poll()
    for each in listeners:
        waiting.register(each, select.POLLIN)
    return bool(waiting.poll(0))
