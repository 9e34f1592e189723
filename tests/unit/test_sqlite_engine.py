"""Engines on SQLite: several processes may open a new file at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from schema.database import engines

# A third of so many at once were refused when nobody waited.
FILES = 40
PROCESSES = 3


def test_a_new_file_can_be_opened_by_many_at_once(tmp_path: Path):
    for number in range(FILES):
        together = threading.Barrier(PROCESSES)

        def connect(url: str, together: threading.Barrier) -> str:
            together.wait()
            with engines.writer(url, timeout=10).connect() as connection:
                return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())

        url = f"sqlite:///{tmp_path}/{number}.db"
        with ThreadPoolExecutor(PROCESSES) as threads:
            runs = [threads.submit(connect, url, together) for _ in range(PROCESSES)]
            assert [each.result() for each in runs] == ["wal"] * PROCESSES
