"""Schemas of sources in the table `sources` on each database: kept as they are, and known soon."""

import asyncio
import json

from sqlalchemy import select

from ingest_api.auth import sources
from ingest_api.auth.api_keys import ApiKeys
from ingest_api.auth.periodic_read import READ_INTERVAL, PeriodicRead
from ingest_api.database.reader_pool import ReaderPool
from schema.database import engines
from schema.database.tables import sources as table
from schema.lead.additional_data import SCHEMA_MAX
from schema.lead.schema_errors import REQUIRED
from tests.integration.backends import Backend

ZIP = {"additionalData.zip": [REQUIRED]}
YEAR = {"additionalData.year": [REQUIRED]}


def required(name: str) -> str:
    return json.dumps({"required": [name]})


def change(backend: Backend, schema: str) -> None:
    with backend.engine.begin() as connection:
        sources.change(connection, "acme", additional_data_schema=schema)


def test_the_largest_schema_is_kept_as_it_is(backend: Backend):
    start = '{"title": "'
    text = start + "ü" * ((SCHEMA_MAX - len(start) - 2) // 2) + '"}\n'
    assert len(text.encode()) == SCHEMA_MAX

    with backend.engine.begin() as connection:
        sources.create(connection, "acme", ["ingest"], additional_data_schema=text)

    with backend.engine.connect() as connection:
        assert sources.find(connection, "acme").additional_data_schema == text
        assert connection.execute(select(table.c.additional_data_schema)).scalar_one() == text


def test_a_change_and_its_end_are_known_with_the_next_read(backend: Backend):
    # Given a process that reads the keys as the API does
    with backend.engine.begin() as connection:
        key = sources.create(connection, "acme", ["ingest"])
    keys = ApiKeys()
    engine = engines.reader(backend.settings.database_url, timeout=10, pool_size=1)
    pool = ReaderPool(engine, 1, timeout=10)
    reads = PeriodicRead(pool, keys.read, keys.replace)

    def errors() -> dict[str, list[str]] | None:
        check = keys.identify(key).additional_data
        return None if check is None else check.errors({})

    async def after(schema: str) -> dict[str, list[str]] | None:
        change(backend, schema)
        # Longer than an interval, for a busy machine.
        before, deadline = errors(), asyncio.get_running_loop().time() + READ_INTERVAL + 10
        while errors() == before and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        return errors()

    async def process() -> None:
        await reads.start()
        task = asyncio.create_task(reads.repeat())
        try:
            assert errors() is None

            # Then each change is known with the next read: a schema, another one, none, and one again
            assert await after(required("zip")) == ZIP
            assert await after(required("year")) == YEAR
            assert await after("") is None
            assert await after(required("zip")) == ZIP
        finally:
            task.cancel()

    try:
        asyncio.run(process())
    finally:
        pool.close()
