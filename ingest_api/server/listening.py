"""What is set on the sockets on which the API listens, shared by all its processes."""

import contextlib
import ctypes
import select
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

# A classic BPF program for a TCP socket (socket(7), SO_ATTACH_FILTER): code, jump if true, jump if false, operand. It
# drops a segment that has SYN set and ACK not, which is the first of a new connection, and lets all others pass.
NO_NEW_CONNECTION = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, 0x12),  # and with SYN | ACK
    (0x15, 0, 1, 0x02),  # is it SYN?
    (0x06, 0, 0, 0),  # yes: keep nothing of it
    (0x06, 0, 0, 0xFFFFFFFF),  # no: keep all of it
)
SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python has no name for it


def bound_sending(listener: Any, seconds: int) -> None:
    """Let the kernel break off a connection whose peer takes nothing for so long: the server itself would wait."""
    # RFC 5482. Linux counts the time in which the peer's window is closed as well; connections inherit it.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)


def has_unaccepted(listeners: Sequence[Any]) -> bool:
    """Return whether the kernel holds a connection that no process has accepted."""
    waiting = select.poll()
    for each in listeners:
        waiting.register(each, select.POLLIN)
    return bool(waiting.poll(0))


def let_nobody_in(listener: Any) -> None:
    """Leave new connections unanswered from now on, for all processes: clients try again, or elsewhere.

    What the kernel has let in already can still be accepted. It would reset all of that, and
    what was sent on it, when the last process closes the socket. Does nothing off Linux.
    """
    if not sys.platform.startswith("linux"):
        return
    program = b"".join(struct.pack("HBBI", *each) for each in NO_NEW_CONNECTION)
    kept = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog of linux/filter.h: how many instructions, and where.
    described = struct.pack("HP", len(NO_NEW_CONNECTION), ctypes.addressof(kept))
    with contextlib.suppress(OSError):  # a sandbox without filters
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
