"""ingest_api.auth.source_schemas: the schemas of sources as one process knows them, compiled once for each change."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, update
from structlog.testing import capture_logs

from ingest_api.auth import sources
from ingest_api.auth.api_keys import ApiKeys
from ingest_api.auth.sources import SourceError
from ingest_api.http.envelope import ApiError
from schema.database import engines
from schema.database.tables import metadata
from schema.database.tables import sources as table
from schema.lead import additional_data
from schema.lead.additional_data import AdditionalDataCheck
from schema.lead.schema_errors import REQUIRED

ZIP = json.dumps({"required": ["zip"]})
YEAR = json.dumps({"required": ["year"]})


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An SQLite with all tables, which are empty."""
    engine = engines.writer(f"sqlite:///{tmp_path / 'leads.db'}", timeout=10)
    with engine.begin() as connection:
        metadata.create_all(connection)
    yield engine
    engine.dispose()


class Process:
    """An API process that reads the keys when it is told to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keys = ApiKeys()
        self.statements: list[str] = []
        event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, *words: Any) -> None:
        if words[2].startswith("SELECT"):
            self.statements.append(words[2])

    def read(self) -> None:
        with self._engine.connect() as connection:
            self._keys.replace(self._keys.read(connection), 0.0)

    def check(self, key: str) -> AdditionalDataCheck | None:
        return self._keys.identify(key).additional_data

    def missing(self, key: str) -> list[str]:
        """Return the fields that a lead without any lacks."""
        check = self.check(key)
        return [] if check is None else [path for path, texts in check.errors(None).items() if texts == [REQUIRED]]


def created(engine: Engine, name: str = "acme", schema: str | None = ZIP) -> str:
    with engine.begin() as connection:
        return sources.create(connection, name, ["ingest"], additional_data_schema=schema)


def changed(engine: Engine, name: str = "acme", **values: Any) -> list[str]:
    with engine.begin() as connection:
        return sources.change(connection, name, **values)


def test_a_source_has_its_own_schema_or_none(engine: Engine):
    acme, globex, other = created(engine), created(engine, "globex", YEAR), created(engine, "other", None)
    process = Process(engine)

    process.read()

    assert process.missing(acme) == ["additionalData.zip"]
    assert process.missing(globex) == ["additionalData.year"]
    assert process.check(other) is None


def test_the_keys_of_a_source_share_its_schema(engine: Engine):
    first = created(engine)
    with engine.begin() as connection:
        second = sources.rotate(connection, "acme", timedelta(hours=1))
    process = Process(engine)

    process.read()

    assert process.check(first) is process.check(second)


def test_a_change_is_known_with_the_next_read_and_so_is_its_end(engine: Engine):
    key = created(engine)
    process = Process(engine)
    process.read()

    assert changed(engine, additional_data_schema=YEAR) == ["additional_data_schema"]
    process.read()
    assert process.missing(key) == ["additionalData.year"]

    assert changed(engine, additional_data_schema="") == ["additional_data_schema"]
    process.read()
    assert process.check(key) is None

    assert changed(engine, additional_data_schema=ZIP, rate=7) == ["rate", "additional_data_schema"]
    process.read()
    assert process.missing(key) == ["additionalData.zip"]


def test_what_has_not_changed_is_neither_read_nor_compiled_again(engine: Engine):
    # Given a process that knows two schemas
    acme, globex = created(engine), created(engine, "globex", YEAR)
    process = Process(engine)
    process.read()
    before = process.check(acme), process.check(globex)
    assert len(process.statements) == 2

    # When nothing has changed, then it reads the keys in one statement, without any schema
    process.statements.clear()
    process.read()
    assert (process.check(acme), process.check(globex)) == before
    assert len(process.statements) == 1
    assert "additional_data_schema IS NOT NULL" in process.statements[0]

    # And with another rate a source has the schema of before, as it was compiled
    changed(engine, rate=5)
    process.statements.clear()
    process.read()
    assert (process.check(acme), process.check(globex)) == before
    assert len(process.statements) == 2

    # And what is compiled for one is not for the other
    changed(engine, additional_data_schema=YEAR)
    process.read()
    assert process.check(acme) is not before[0]
    assert process.check(globex) is before[1]


def test_the_schema_of_a_source_that_was_disabled_is_read_again(engine: Engine):
    key = created(engine)
    process = Process(engine)
    process.read()
    with engine.begin() as connection:
        sources.disable(connection, "acme")
    process.read()

    with engine.begin() as connection:
        sources.enable(connection, "acme")
    process.read()

    assert process.missing(key) == ["additionalData.zip"]


def test_a_source_whose_schema_cannot_be_compiled_is_answered_503_and_others_go_on(engine: Engine):
    # Given a schema that another release took
    acme, globex = created(engine), created(engine, "globex", YEAR)
    with engine.begin() as connection:
        connection.execute(
            update(table).where(table.c.name == "acme").values(additional_data_schema='{"type": "objekt"}')
        )
    process = Process(engine)

    # When it is read again and again
    with capture_logs() as lines:
        process.read()
        process.read()

    # Then one line says so, and no lead of its source is taken
    assert [(line["event"], line["source"]) for line in lines] == [("schema not usable", "acme")]
    for data in (None, {"zip": "1"}):
        with pytest.raises(ApiError) as refused:
            process.check(acme).errors(data)
        assert (refused.value.status_code, refused.value.reason) == (503, "schema_unusable")
        assert refused.value.headers["Retry-After"] == "60"
    with pytest.raises(ApiError):
        additional_data.validate({"firstName": ""}, process.check(acme))
    assert process.missing(globex) == ["additionalData.year"]
    # And a change repairs it
    changed(engine, additional_data_schema=ZIP)
    process.read()
    assert process.missing(acme) == ["additionalData.zip"]


@pytest.mark.parametrize("schema", ["{", '{"type": "array"}', '{"properties": {"a": {"pattern": "(?=x)"}}}'])
def test_a_schema_that_is_refused_makes_and_changes_nothing(engine: Engine, schema: str):
    created(engine)

    with pytest.raises(SourceError, match=r"^the schema for additionalData is refused: "):
        created(engine, "globex", schema)
    with pytest.raises(SourceError, match=r"^the schema for additionalData is refused: "):
        changed(engine, rate=9, additional_data_schema=schema)

    with engine.connect() as connection:
        (found,) = sources.list_all(connection)
    assert (found.name, found.rate, found.additional_data_schema) == ("acme", 0, ZIP)


def test_a_schema_is_kept_as_it_was_given(engine: Engine):
    text = '{\n  "type": "object",\r\n\t"description": "ünïcode \\u0000"\n}\n'
    created(engine, schema=text)

    with engine.connect() as connection:
        assert sources.find(connection, "acme").additional_data_schema == text
