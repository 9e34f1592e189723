"""Whether everything on all hosts is well."""

import time
from collections.abc import Callable, Sequence

from loadtests.hosts.parts import Database, Queue, System, first_ill
from tests.kit.hosts import Host

# Longest time (seconds) for everything to be well again by itself.
DEADLINE = 120.0

LOOK_INTERVAL = 0.5


class Health:
    """Asks servers and service, from outside."""

    def __init__(self, hosts: Sequence[Host], queue: Queue, database: Database, system: System) -> None:
        self._hosts = hosts
        self._queue = queue
        self._database = database
        self._system = system
        self.last_ill = ""  # what was not well when that was last asked

    def ill(self) -> str:
        """Return what is not well; "" when all is."""
        return self.ill_servers() or first_ill(map(self._system.ill, self._hosts))

    def ill_servers(self) -> str:
        """Return which server is away or not in sync; "" when none is."""
        return self._queue.ill() or self._database.ill()

    def wait(self, within: float = DEADLINE) -> float | None:
        """Wait until all is well, and return the seconds that took; None when it did not become so."""
        return self._wait(self.ill, within)

    def wait_for_servers(self, within: float = DEADLINE) -> float | None:
        """Wait until every server is there and in sync, whatever the service does; as `wait`."""
        return self._wait(self.ill_servers, within)

    def _wait(self, ill: Callable[[], str], within: float) -> float | None:
        begun = time.monotonic()
        while found := ill():
            self.last_ill = found
            if time.monotonic() - begun > within:
                return None
            self._queue.rebalance()
            time.sleep(LOOK_INTERVAL)
        return time.monotonic() - begun
