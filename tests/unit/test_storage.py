"""docs/storage.md is what the declarations of Redis's keys and of the tables say."""

import inspect
from pathlib import Path

from schema import storage
from schema.database.tables import metadata
from schema.queue import keys

PAGE = Path(__file__).parents[2] / "docs" / "storage.md"


def test_the_page_is_current():
    assert PAGE.read_text() == storage.reference(), "run `make docs`"


def test_every_key_is_documented():
    documented = [key.partition("<")[0] for key, *_ in keys.DOCUMENTED]
    named = [value for name, value in inspect.getmembers(keys) if isinstance(value, str) and value.startswith("leads:")]

    assert sorted(documented) == sorted(named)


def test_every_table_is_documented():
    assert all(table.info["doc"] and table.info["writer"] for table in metadata.sorted_tables)
