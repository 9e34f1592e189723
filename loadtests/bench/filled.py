"""Fills the tables before a run, as if the service had stored the leads long ago."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loadtests.bench.bare import LOAD, Bare, Row, connect, rows_of, write
from loadtests.bench.contenders import Ours
from loadtests.bench.figures import new_tag
from schema.counts.widths import MICROS
from schema.counts.write import changes_of
from schema.queue.accepted_counts import ACCEPTED_WIDTHS

CHUNK = 100_000  # rows in a file

# Days before now over which the chunks are spread evenly, and microseconds between two rows of a chunk.
DAYS = 300
APART = 600  # microseconds

# An epoch of Redis long before the run's own: see schema.queue.accepted_counts.
EPOCH = 1

ACCEPT = "INSERT INTO accepted_counts (width, bucket, epoch, accepted) VALUES (%s, %s, %s, %s)"


def fill(ours: Ours, bare: Bare, number: int) -> None:
    """Load `number` rows with their counts into our tables and into those of the bare loop."""
    for url in (ours.database_url, bare.url):
        print(f"  filling the table with {number:,} rows …", flush=True)
        connection = connect(url)
        with connection, connection.cursor() as cursor, tempfile.TemporaryDirectory(prefix="bench-fill-") as directory:
            path = Path(directory) / "rows"
            accepted = Counter[tuple[int, int, int]]()
            for rows in _chunks(number):
                write(path, rows)
                cursor.execute(LOAD.format(path=path))
                changes = changes_of((row[0] for row in rows), 0)
                for upsert, counted in changes:
                    cursor.executemany(upsert.statements[bare.product], counted)
                connection.commit()
                for width, bucket, _, stored in changes[-1][1]:
                    if width // MICROS in ACCEPTED_WIDTHS:
                        accepted[width // MICROS, bucket // MICROS, EPOCH] += stored
            # Counted as accepted, too, so that the ledger balances.
            cursor.executemany(ACCEPT, [(*place, number) for place, number in accepted.items()])
            connection.commit()


def _chunks(number: int) -> Iterator[list[Row]]:
    tag = new_tag()
    begun = datetime.now(UTC) - timedelta(days=DAYS)
    for first in range(0, number, CHUNK):
        size = min(CHUNK, number - first)
        moment = begun + timedelta(days=DAYS * first / number)
        yield rows_of(tag, first, size, int(moment.timestamp() * 1_000_000), APART)
