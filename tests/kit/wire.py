"""A slow wire between a host and the switch (see tests.kit.hosts), for kernels without netem.

`python -m tests.kit.wire PORT BRIDGE DELAY JITTER LOSS`: takes the bridge's port PORT out, and carries the frames of
both directions itself: each DELAY ± JITTER milliseconds late, LOSS percent of them never. SIGTERM ends it.
"""

import fcntl
import heapq
import os
import random
import selectors
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress

# <linux/if_tun.h>: a frame device whose frames begin with a virtio header, as those of the packet socket do.
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x0002, 0x1000, 0x4000

# <linux/if_packet.h>: frames that the kernel has left to be cut and summed by the network card keep that note.
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 15, 23, 3

FRAME_MAX = 1 << 17  # bytes, with room for a frame that is still to be cut


class Wire:
    """The two ends, and the frames under way."""

    def __init__(self, port: str, bridge: str, delay: float, jitter: float, loss: float) -> None:
        """Take the delay and its standard deviation in seconds, and the lost share."""
        self._delay, self._jitter, self._loss = delay, jitter, loss
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._number = 0
        self._tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        name = f"w-{port}"[:15]
        fcntl.ioctl(self._tap, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
        _ip("link", "set", port, "nomaster")
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.bind((port, ETH_P_ALL))
        self._socket.setblocking(False)
        _ip("link", "set", name, "master", bridge, "up")

    def run(self) -> None:
        """Carry frames, for ever."""
        ends = {self._tap: self._socket.fileno(), self._socket.fileno(): self._tap}
        ready = selectors.DefaultSelector()
        for end in ends:
            ready.register(end, selectors.EVENT_READ)
        while True:
            next_due = self._under_way[0][0] - time.monotonic() if self._under_way else 1.0
            for key, _ in ready.select(max(0.0, next_due)):
                self._receive(key.fd, ends[key.fd])
            self._deliver()

    def _receive(self, end: int, other: int) -> None:
        with suppress(BlockingIOError):
            while True:
                frame = os.read(end, FRAME_MAX)
                if random.random() >= self._loss:
                    late = max(0.0, random.gauss(self._delay, self._jitter))
                    self._number += 1
                    heapq.heappush(self._under_way, (time.monotonic() + late, self._number, other, frame))

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, _, end, frame = heapq.heappop(self._under_way)
            # A full queue loses a frame, as on any wire.
            with suppress(OSError):
                os.write(end, frame)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


if __name__ == "__main__":
    port, bridge, delay, jitter, loss = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:6])
    Wire(port, bridge, delay / 1000, jitter / 1000, loss / 100).run()
