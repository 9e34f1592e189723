"""The database's limit: a bare loop that inserts prepared rows into the service's tables."""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymysql
from sqlalchemy.engine import make_url

from loadtests.bench import wrk
from loadtests.bench.figures import new_tag
from loadtests.bench.wrk import BadAnswers
from schema.counts.write import changes_of
from schema.database.engines import Product
from schema.database.migrations.runner import migrate
from schema.lead import lead_id
from tests.kit.databases import DatabaseServer

BATCH = 1000  # rows per statement and transaction
CONNECTIONS = 2

# Microseconds between the ids of two rows; 40 stand for 25,000 leads a second.
APART = 40

COLUMNS = "id, first_name, last_name, email, phone, date_of_birth, additional_data, created_at, updated_at"
INSERT = f"INSERT INTO leads ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
LOAD = (
    "LOAD DATA LOCAL INFILE '{path}' INTO TABLE leads CHARACTER SET utf8mb4 "
    "(@id, first_name, last_name, email, phone, date_of_birth, additional_data, created_at, updated_at) "
    "SET id = UNHEX(@id)"
)

Row = tuple[Any, ...]


class Bare:
    """The service's tables in a separate database."""

    def __init__(self, server: DatabaseServer) -> None:
        self._server = server
        self.product = Product(server.title)
        self.url = server.create_database()
        self._name = self.url.rpartition("/")[2]
        migrate(self.url)

    def insert(self, number: int) -> float:
        """Insert `number` rows by multi-row INSERTs with their counts, from two connections; return rows per second."""
        return self._timed(_insert, number)

    def load(self, number: int) -> float:
        """Load `number` rows by LOAD DATA LOCAL without counts, from two connections; return rows per second."""
        return self._timed(_load, number)

    def _timed(self, target: Callable[..., None], number: int) -> float:
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(CONNECTIONS + 1)
        tag, before = new_tag(), self._rows()
        share = number // CONNECTIONS
        processes = [
            context.Process(
                target=target, args=(self.url, self.product, tag, each * share, share, each, barrier), daemon=True
            )
            for each in range(CONNECTIONS)
        ]
        for process in processes:
            process.start()
        barrier.wait(120)
        begun = time.perf_counter()
        barrier.wait(600)
        seconds = time.perf_counter() - begun
        for process in processes:
            process.join(30)
        if self._rows() - before != share * CONNECTIONS:
            raise BadAnswers(f"bare loop: of {share * CONNECTIONS} rows {self._rows() - before} are there")
        return share * CONNECTIONS / seconds

    def _rows(self) -> int:
        return int(self._server.execute(f"SELECT COUNT(*) FROM {self._name}.leads")[0][0])


def connect(url: str) -> Any:
    """Return a connection that may load local files."""
    parts = make_url(url)
    return pymysql.connect(
        host=parts.host,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.database,
        charset="utf8mb4",
        local_infile=True,
    )


def rows_of(tag: str, first: int, number: int, micros: int, apart: int = APART) -> list[Row]:
    """Make rows of the benchmark's lead as the service stores them: created from `micros` on, `apart` microseconds."""
    data = wrk.lead(tag, 0).partition('"additionalData":')[2][:-1]
    rows = []
    for each in range(first, first + number):
        new_id = lead_id.at(micros + (each - first) * apart, each)
        moment = lead_id.time_of(new_id).replace(tzinfo=None)
        email = f"{tag}-{each:09d}@example.com"
        rows.append((new_id, "Ada", "Lovelace", email, "+442071234567", "1990-12-10", data, moment, moment))
    return rows


def _insert(url: str, product: Product, tag: str, first: int, number: int, slot: int, barrier: Any) -> None:
    rows = rows_of(tag, first, number, time.time_ns() // 1000)
    batches = [rows[start : start + BATCH] for start in range(0, number, BATCH)]
    work = [(batch, changes_of((row[0] for row in batch), slot)) for batch in batches]
    connection = connect(url)
    with connection, connection.cursor() as cursor:
        # Each batch is one statement: far below the megabyte at which PyMySQL splits.
        barrier.wait()
        for batch, counted in work:
            cursor.executemany(INSERT, batch)
            for upsert, numbers in counted:
                cursor.executemany(upsert.statements[product], numbers)
            connection.commit()
        barrier.wait()


def _load(url: str, _: Product, tag: str, first: int, number: int, slot: int, barrier: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-load-") as directory:
        path = Path(directory) / f"rows-{slot}"
        write(path, rows_of(tag, first, number, time.time_ns() // 1000))
        connection = connect(url)
        with connection, connection.cursor() as cursor:
            barrier.wait()
            cursor.execute(LOAD.format(path=path))
            connection.commit()
            barrier.wait()


def write(path: Path, rows: list[Row]) -> None:
    """Write rows in LOAD DATA's default format, tab-separated; no value needs escaping."""
    with path.open("w") as file:
        for row in rows:
            file.write("\t".join([row[0].hex(), *map(str, row[1:])]) + "\n")
