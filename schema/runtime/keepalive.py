"""How soon the kernel breaks a connection to a host that is gone without a word: lost, or cut off.

No timeout for an answer can be as short, because a server that works on one is not gone: its kernel confirms.
"""

import socket

# Seconds without a confirmation, of data or of a probe, after which the other host is gone. Longer than a few lost
# packets take to be sent again.
GONE_AFTER = 3

# The options of a TCP socket: the first probe, between probes, how many, and data that nobody confirms (milliseconds).
_OPTIONS = {
    "TCP_KEEPIDLE": 1,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": GONE_AFTER,
    "TCP_USER_TIMEOUT": GONE_AFTER * 1000,
}

# Those that this system has, by their numbers; for redis-py's and kombu's `socket_keepalive_options`.
KEEPALIVE: dict[int, int] = {
    int(getattr(socket, name)): value for name, value in _OPTIONS.items() if hasattr(socket, name)
}
