"""Reads how the service is: which parts answer, the ledger, and the servers behind them."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.exceptions import RedisError
from sqlalchemy import Connection, text

from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.http.envelope import ApiError
from ingest_api.reads.database_servers import DatabaseServers
from ingest_api.reads.ledger import LedgerReader
from ingest_api.reads.queue_reader import QueueReader

T = TypeVar("T")

# Longest wait (seconds) for Redis or the database before it counts as away.
PART_TIMEOUT = 2.0


@dataclass(frozen=True)
class ServiceState:
    """What one reading found."""

    queue: bool  # whether a shard answers
    database: bool
    shards_away: int
    ledger: dict[str, int] | None  # None when it could not be read
    servers: dict[str, Any]  # which servers there are, by part


class StateReader:
    """Reads the state of the service."""

    def __init__(
        self,
        reader: DatabaseReader,
        queue: QueueReader,
        ledgers: LedgerReader,
        database_servers: DatabaseServers,
    ) -> None:
        self._reader = reader
        self._queue = queue
        self._ledgers = ledgers
        self._database_servers = database_servers

    async def read(self) -> ServiceState:
        """Return the state. Raises nothing: a part that does not answer within PART_TIMEOUT is away."""
        queue_servers, database = await asyncio.gather(
            self._queue.servers(PART_TIMEOUT), _answers(self._reader.in_snapshot(_select_one))
        )
        away = sum("error" in each for each in queue_servers)
        queue = away < len(queue_servers)
        servers: dict[str, Any] = {"queue": queue_servers}
        if not (queue and database):
            return ServiceState(queue, database, away, None, servers)
        ledger = None if away else await or_none(self._ledgers.read())
        database_servers = await or_none(self._database_servers.read())
        if database_servers:
            servers["database"] = database_servers
        return ServiceState(queue, database, away, ledger, servers)


async def or_none(question: Awaitable[T], timeout: float = PART_TIMEOUT) -> T | None:
    """Return the answer, or None when it does not come within `timeout` seconds."""
    try:
        return await asyncio.wait_for(question, timeout)
    except (ApiError, RedisError, TimeoutError):
        return None


async def _answers(question: Awaitable[object]) -> bool:
    try:
        await asyncio.wait_for(question, PART_TIMEOUT)
    except (ApiError, RedisError, TimeoutError):
        return False
    return True


def _select_one(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
