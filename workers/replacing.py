"""Has dead pool processes replaced at once.

Celery looks after its pool when a process's pipe closes, and every five seconds. But the pipe
closes a moment before the system calls the process dead, so that the first look often finds
nothing amiss (celery/celery#9588), and the worker runs on with one process less until the second.
"""

from typing import Any

from celery import bootsteps

# Seconds between two looks, each a system call for every process. A killed process is to be back within two.
INTERVAL = 0.5


class Replacing(bootsteps.StartStopStep):
    """A step of Celery's worker: looks after the pool every INTERVAL seconds while its event loop runs."""

    requires = ("celery.worker.components:Pool",)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Start the timer. Celery calls this each time it is connected, and drops the timer with the connection."""
        hub.call_repeatedly(INTERVAL, worker.pool.maintain_pool)
