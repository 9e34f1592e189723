"""The reference of Redis's keys and the database's tables, generated from the declarations."""

from schema.database.tables import metadata
from schema.queue.keys import DOCUMENTED

STORAGE_HEADER = """\
# What is kept where

Made from `schema/queue/keys.py` and `schema/database/tables.py` by `make docs`; a test holds the three together.

## Redis

Where the queue has shards, or is in a Cluster, each shard has keys of its own: `leads:{tag}:stream` for `leads:stream`.
What belongs to no lead is in the first shard, and Celery's lists are at the broker.

| key | type | what it holds | who writes it |
|---|---|---|---|
"""

TABLES = """
Kombu, Celery's transport, has keys of its own (`_kombu.*`, `celeryev.*`, `*.pidbox`; releases before 0.2
left `unacked*`, which nothing reads): they hold messages, never a lead.

## Database

| table | what it holds | who writes it | columns |
|---|---|---|---|
"""


def reference() -> str:
    """Return the page as Markdown."""
    keys = "".join(f"| `{key}` | {kind} | {text} | {writer} |\n" for key, kind, text, writer in DOCUMENTED)
    tables = "".join(
        f"| `{table.name}` | {table.info['doc']} | {table.info['writer']} | "
        f"{', '.join(f'`{column.name}`' for column in table.columns)} |\n"
        for table in metadata.sorted_tables
    )
    return STORAGE_HEADER + keys + TABLES + tables
