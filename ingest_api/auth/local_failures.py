"""Failed log-ins counted in one process, for while Redis is away or full."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

# Most names of each kind; beyond that the oldest go.
NAMES_MAX = 10_000

# Doublings after which the number of seconds does not grow any more; any longest delay is less.
DOUBLINGS_MAX = 16


def delay_after(failures: int, free: int, most: int) -> int:
    """Return how long (seconds) the next log-in is refused after so many failures; the delay begins with the `free`-th.

    It doubles with each further one, up to `most`.
    """
    return min(2 ** min(failures - free, DOUBLINGS_MAX), most) if failures >= free else 0


class _Count(NamedTuple):
    failures: int
    wait_until: float  # on the clock
    expires: float  # on the clock


class LocalFailures:
    """Counts failures by name, and remembers who logged in. It is bounded in size."""

    def __init__(self, free: int, window: int, delay_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the number of failures without delay, and in seconds how long they count and the longest delay."""
        self._free = free
        self._window = window
        self._delay_max = delay_max
        self._clock = clock
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def is_known(self, client: str) -> bool:
        """Tell whether a client logged in here."""
        return client in self._known

    def wait(self, name: str) -> float:
        """Return how long (seconds) log-ins of that name are refused; 0: they are not."""
        found = self._counts.get(name)
        return max(found.wait_until - self._clock(), 0.0) if found else 0.0

    def failed(self, name: str) -> None:
        """Count a failure."""
        now = self._clock()
        found = self._counts.pop(name, None)
        failures = 1 + (found.failures if found and found.expires > now else 0)
        wait_until = now + delay_after(failures, self._free, self._delay_max)
        self._counts[name] = _Count(failures, wait_until, wait_until + self._window)
        _bound(self._counts)

    def succeeded(self, client: str, name: str) -> None:
        """Remember a client, and forget the failures of a name."""
        self._counts.pop(name, None)
        self._known[client] = None
        self._known.move_to_end(client)
        _bound(self._known)


def _bound(names: OrderedDict[str, Any]) -> None:
    while len(names) > NAMES_MAX:
        names.popitem(last=False)
