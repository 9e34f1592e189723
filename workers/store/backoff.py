"""Exponential backoff with jitter, for a database that is away, or for storing that has stopped."""

import random
import time
from collections.abc import Callable

# Seconds.
FIRST_SPAN = 0.5
# Seconds. With the wait for an answer (LEADS_DATABASE_TIMEOUT) less than half a minute: so long rows may be late.
LONGEST_SPAN = 10.0


class Backoff:
    """Tells whether it is time to try again."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._failures = 0
        self._until = 0.0

    def ready(self) -> bool:
        """Tell whether enough time has passed since the last failure."""
        return self._clock() >= self._until

    def record_failure(self) -> float:
        """Record a failure; return the seconds until the next try: half to all of a span that doubles each time."""
        span = min(LONGEST_SPAN, FIRST_SPAN * 2.0**self._failures)
        wait = span * (0.5 + self._jitter() / 2)
        # LONGEST_SPAN is reached by then.
        self._failures = min(self._failures + 1, 10)
        self._until = self._clock() + wait
        return wait

    def reset(self) -> None:
        """Record a success."""
        self._failures = 0
        self._until = 0.0
