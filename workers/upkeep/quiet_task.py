"""A task that Flower lists only when it did something or failed, so that it does not bury those that store leads."""

import time
from contextlib import suppress
from typing import Any

from celery import Task, states
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError


class QuietTask(Task):
    """Base of a task that returns what it did as numbers by name; none but zeros is nothing.

    The worker sends no event of it. The pool process sends those of a run worth showing when it is over.
    """

    abstract = True
    send_events = False

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Remember when the run began. Celery calls this."""
        self._begun = time.time()

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Send the events of a run that did something or raised. Celery calls this.

        While Redis is away they are lost, as those of any task are.
        """
        done = status == states.SUCCESS
        if done and not any(retval.values()):
            return
        with suppress(OperationalError, RedisError, OSError):
            self._send("task-received", name=self.name, args="()", kwargs="{}", timestamp=self._begun)
            self._send("task-started", timestamp=self._begun)
            if done:
                self._send("task-succeeded", result=repr(retval), runtime=time.time() - self._begun)
            else:
                # The class alone, because a message may quote a lead.
                self._send("task-failed", exception=type(retval).__name__)

    def _send(self, event: str, **fields: Any) -> None:
        self.send_event(event, retry=False, **fields)
