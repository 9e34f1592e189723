"""Engines on SQLite: several processes may open a new file at once, and what cannot be waited for is said at once."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from schema.database import engines

# When nobody waited, opening was refused for one file in four.
FILES = 40
PROCESSES = 3


def journal_mode(url: str, together: threading.Barrier) -> str:
    """Open the file when all are ready to."""
    engine = engines.writer(url, timeout=10)
    together.wait()
    try:
        with engine.connect() as connection:
            return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
    finally:
        engine.dispose()


def test_a_new_file_can_be_opened_by_many_at_once(tmp_path: Path):
    for number in range(FILES):
        together = threading.Barrier(PROCESSES)
        with ThreadPoolExecutor(PROCESSES) as threads:
            url = f"sqlite:///{tmp_path}/{number}.db"
            runs = [threads.submit(journal_mode, url, together) for _ in range(PROCESSES)]

            assert [each.result() for each in runs] == ["wal"] * PROCESSES


def test_a_file_that_cannot_be_written_is_an_error_at_once(tmp_path: Path):
    path = tmp_path / "there.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE leads (id INTEGER)")
    began = time.monotonic()

    with pytest.raises(OperationalError, match="readonly"):
        journal_mode(f"sqlite:///file:{path}?mode=ro&uri=true", threading.Barrier(1))

    assert time.monotonic() - began < engines.SQLITE_BUSY_SECONDS / 2
