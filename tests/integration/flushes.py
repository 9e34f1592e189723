"""One API process's line to the queue, and operations to send along it."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ingest_api.intake.append import AppendRequest, AppendResult, NewLead
from ingest_api.intake.group_commit import GroupCommit
from schema.lead import codec
from schema.lead.lead_id import LeadId, new_lead_id
from schema.queue import keys
from schema.runtime.redis_clients import async_redis
from tests.integration.backends import Backend, fields_of

T = TypeVar("T")


class Line:
    """A group commit with its connection, as one API process has it."""

    def __init__(self, backend: Backend, **changes: Any) -> None:
        settings = backend.with_settings(**changes)
        self._backend = backend
        client = async_redis(settings.shards[0], settings, connections=1)
        self.commit = GroupCommit(client, settings, lambda *_: None)

    async def submit(self, operation: AppendRequest) -> AppendResult:
        """Submit an operation."""
        return await self.commit.submit(operation)

    def wait_longer(self, seconds: float) -> None:
        """Give up a flush after so many seconds from now on."""
        self.commit._timeout = seconds

    def flushes(self) -> int:
        """Return how many flushes the server has run since it started."""
        return int(self._backend.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def lead_of(lead_id: LeadId) -> NewLead:
    """Return a valid lead with that id."""
    return NewLead(lead_id, codec.encode(lead_id, fields_of()))


def one_lead() -> AppendRequest:
    """Return the operation of a request with one new lead."""
    return AppendRequest(leads=(lead_of(new_lead_id()),))


def with_key(key: str, body: bytes, *, key_absent_in_database: bool = True) -> AppendRequest:
    """Return the operation of a request with one new lead and an Idempotency-Key.

    `key_absent_in_database` says that it was asked for the key and does not know it.
    """
    name = hashlib.sha256(key.encode()).hexdigest()
    return AppendRequest(
        leads=one_lead().leads,
        key=keys.IDEMPOTENCY_PREFIX + name,
        digest=hashlib.sha256(body).digest(),
        key_absent_in_database=key_absent_in_database,
    )


def run(backend: Backend, work: Callable[..., Awaitable[T]], lines: int = 1, **changes: Any) -> T:
    """Run `work` with so many group commits, each as one API process has it."""

    async def main() -> T:
        opened = [Line(backend, **changes) for _ in range(lines)]
        try:
            return await work(*opened)
        finally:
            for line in opened:
                await line.commit.close()

    return asyncio.run(main())
