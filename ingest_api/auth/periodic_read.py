"""Reads from the database every few seconds what no request may wait for: users' tokens and sources' keys."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from sqlalchemy import Connection

from ingest_api.database.reader_pool import DatabaseReader
from schema.runtime import logs

T = TypeVar("T")

log = logs.get(__name__)

# Interval (seconds) of the reads: the longest time that an ended token, or the key of a disabled source, still works.
READ_INTERVAL = 2.0

# Longest time (seconds) that a starting process waits for the first read.
FIRST_READ_TIMEOUT = 1.0


class PeriodicRead(Generic[T]):
    """One read of the primary, repeated. While the database is away, what the last read found stays."""

    def __init__(
        self, reader: DatabaseReader, statement: Callable[[Connection], T], replace: Callable[[T, float], None]
    ) -> None:
        """Take a reader of the primary, what is read in one statement, and who gets it.

        `replace` is called with what was found and the moment before the read, in seconds since 1970: what was made
        since then may be missing.
        """
        self._reader = reader
        self._statement = statement
        self._replace = replace
        self._is_failing = False

    async def start(self) -> None:
        """Read for the first time, within FIRST_READ_TIMEOUT."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READ_TIMEOUT):
                await self._read()

    async def repeat(self) -> None:
        """Read every READ_INTERVAL until cancelled."""
        while True:
            await self._read()
            await asyncio.sleep(READ_INTERVAL)

    async def _read(self) -> None:
        moment = time.time()
        try:
            self._replace(await self._reader.one_statement(self._statement), moment)
        except Exception as error:  # whatever it is, what was found before must not stay for ever unread again
            if not self._is_failing:
                log.warning("not read again", what=self._statement.__module__, reason=type(error).__name__)
            self._is_failing = True
        else:
            self._is_failing = False
