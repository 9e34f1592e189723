"""The backends of the integration tests, and what a test asks of any."""

import asyncio
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, select, text

from ingest_api.intake.append import AppendRequest, NewLead, Verdict
from ingest_api.intake.group_commit import GroupCommit
from schema.counts import by_source, maintain
from schema.database import engines
from schema.database.tables import leads, metadata
from schema.lead import codec, rules
from schema.lead.lead_id import LeadId, new_lead_id
from schema.queue import entries, keys
from schema.runtime.redis_clients import AsyncShardClient, ShardClient, async_redis, async_shards
from schema.settings import Settings
from tests.kit.databases import DATABASES, DatabaseServer
from tests.kit.servers import RedisServer

BACKENDS = ("embedded", *DATABASES)

# For what an embedded backend does not have.
servers_only = pytest.mark.parametrize("backend", list(DATABASES), indirect=True)

POISON = "Poison"


@dataclass
class Backend:
    """A queue and a database, both empty, and the settings that lead to them."""

    name: str
    settings: Settings
    queue: RedisServer
    server: DatabaseServer | None  # None for SQLite
    client: redis.Redis
    engine: Engine

    @property
    def database(self) -> DatabaseServer:
        """The database's server, for tests that break it."""
        assert self.server is not None, "SQLite has no server"
        return self.server

    @property
    def first(self) -> ShardClient:
        """The first shard of the queue, which is the only one."""
        return ShardClient(self.settings.shards[0], self.client)

    @property
    def shards(self) -> list[ShardClient]:
        """All shards of the queue."""
        return [self.first]

    def async_shards(self, connections: int) -> list[AsyncShardClient]:
        """Make an asyncio client of each shard. The caller closes them."""
        return async_shards(self.settings, connections=connections)

    def with_settings(self, **changes: Any) -> Settings:
        """Return the settings with some changed."""
        return dataclasses.replace(self.settings, **changes)

    def accept(self, number: int, **fields: Any) -> list[LeadId]:
        """Append valid leads to the queue as the API does, and return their ids."""
        return self.accept_all([fields_of(each, **fields) for each in range(number)])

    def accept_all(self, checked: Sequence[dict[str, Any]]) -> list[LeadId]:
        """Append leads with these fields to the queue as the API does, and return their ids."""
        found = [new_lead_id() for _ in checked]
        appended = tuple(NewLead(each, codec.encode(each, fields)) for each, fields in zip(found, checked, strict=True))
        asyncio.run(self._append(appended))
        return found

    def append_with_key(self, ids: Sequence[LeadId], checked: Sequence[dict[str, Any]], key: bytes) -> None:
        """Append leads under an idempotency key (schema.database.idempotency.key_of) as the API does."""
        appended = tuple(NewLead(each, codec.encode(each, fields)) for each, fields in zip(ids, checked, strict=True))
        digest = hashlib.sha256(repr(checked).encode()).digest()
        asyncio.run(self._append(appended, keys.IDEMPOTENCY_PREFIX + key.hex(), digest))

    async def _append(self, appended: tuple[NewLead, ...], key: str = "", digest: bytes = b"") -> None:
        settings = self.with_settings(redis_timeout=10.0)
        commit = GroupCommit(async_redis(settings.shards[0], settings, connections=1), settings, lambda *_: None)
        assert (
            await commit.submit(AppendRequest("", appended, key, digest, key_absent_in_database=True))
        ).verdict is Verdict.APPENDED
        await commit.close()

    def stored(self) -> set[LeadId]:
        """Return the ids of all rows."""
        with self.engine.connect() as connection:
            return {bytes(each) for each in connection.execute(select(leads.c.id)).scalars()}

    def dead(self) -> dict[LeadId | None, str]:
        """Return the reason of each dead letter by its lead's id."""
        letters = [fields for _, fields in self.client.xrange(keys.DEAD)]
        found = {entries.id_of(each.get(b"lead", b"")): each[b"reason"].decode() for each in letters}
        assert len(found) == len(letters), "two dead letters for one lead"
        return found

    def waiting(self) -> int:
        """Return the number of leads in the stream."""
        return int(self.client.xlen(keys.STREAM))

    def pending(self) -> int:
        """Return the number of leads that were read and not acknowledged."""
        return int(self.client.xpending(keys.STREAM, keys.GROUP)["pending"])

    def assert_counted(self) -> None:
        """Check that the counts say what counting the rows says, bucket by bucket."""
        with self.engine.connect() as connection:
            assert list(maintain.differences(connection)) == []
            for counts in by_source.KINDS:
                assert list(counts.differences(connection)) == []

    def refuse(self, first_name: str = POISON, *, errno: int = 1644) -> None:
        """Let the database refuse every lead with this first name."""
        if self.server is None:
            with self.engine.begin() as connection:
                connection.execute(
                    text(
                        "CREATE TRIGGER refusal BEFORE INSERT ON leads "
                        f"WHEN NEW.first_name = '{first_name}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
                    )
                )
        else:
            # As root: where there is a binary log, MySQL lets nobody else.
            name = self.engine.url.database
            self.server.execute(
                f"CREATE TRIGGER {name}.refusal BEFORE INSERT ON {name}.leads FOR EACH ROW "
                f"IF NEW.first_name = '{first_name}' THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {errno}; END IF"
            )

    def stop_refusing(self) -> None:
        """Undo `refuse`."""
        with self.engine.begin() as connection:
            connection.execute(text("DROP TRIGGER IF EXISTS refusal"))

    def empty(self) -> None:
        """Remove all leads, counts, users and triggers, and all that the queue holds."""
        self.client.flushall()
        self.stop_refusing()
        with self.engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(table.delete())


@contextmanager
def backend_at(url: str, queue: RedisServer, directory: Path) -> Iterator[Backend]:
    """Yield an empty backend of a queue and a migrated MySQL, with the default timeout of the database."""
    settings = Settings(
        data_dir=directory,
        redis_url=queue.url,
        redis_timeout=10.0,
        database_url=url,
        rate_limit=0,
        claim_after=5.0,
    )
    engine = writer(settings, pool_size=4)
    with closing(queue.client()) as client:
        backend = Backend("mysql", settings, queue, None, client, engine)
        backend.empty()
        yield backend
    engine.dispose()


def fields_of(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return the fields of a lead as `schema.lead.rules.validate` leaves them."""
    fields = {
        "firstName": f"Ada {number}",
        "lastName": "Lovelace",
        "email": f"ada{number}@example.com",
        "phone": "+442071234567",
        "dateOfBirth": "1990-12-10",
        "additionalData": {"number": number},
    }
    return rules.validate(fields | changes)


def writer(settings: Settings, pool_size: int = 1) -> Engine:
    """Make an engine as the workers do."""
    return engines.writer(settings.primary_url, timeout=settings.database_timeout, pool_size=pool_size)
