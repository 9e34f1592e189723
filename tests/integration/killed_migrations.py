"""Migrations that are killed, each in a process of its own."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event

from schema.database.migrations.runner import downgrade, migrate

# Forks of a process that has all modules, and no threads.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__, "alembic.command"])

DIRECTIONS: dict[str, Callable[[str, str], None]] = {"up": migrate, "down": downgrade}


def killed_before_change(number: int, direction: str, url: str, revision: str) -> bool:
    """Migrate, and end by SIGKILL just before the statement `number` (from 0) that changes something.

    Returns False when the migration has fewer, and so was carried out.
    """
    child = _processes.Process(target=_migrate, args=(number, direction, url, revision))
    child.start()
    child.join(60)
    assert child.exitcode in (0, -signal.SIGKILL), f"it ended with {child.exitcode}"
    return child.exitcode != 0


def _migrate(number: int, direction: str, url: str, revision: str) -> None:
    left = number

    def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal left
        if not statement.lstrip().startswith(("SELECT", "PRAGMA", "DESCRIBE", "SHOW", "BEGIN")):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    event.listen(Engine, "before_cursor_execute", count)
    DIRECTIONS[direction](url, revision)
