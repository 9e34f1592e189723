"""The check of a log-in: limits, the line, the hash, and what follows from its outcome."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import falcon
from sqlalchemy import Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from ingest_api.auth import users
from ingest_api.auth.login_failures import Attempt, LoginFailures, Standing
from ingest_api.auth.login_line import LoginLine
from ingest_api.auth.users import User
from ingest_api.database.reader_pool import DatabaseReader
from ingest_api.http.envelope import ApiError
from schema.database.errors import reason_of
from schema.runtime import logs

P = ParamSpec("P")
T = TypeVar("T")

# Most concurrent password checks in one process; bounds the memory and CPU that argon2 takes
# (docs/lab/2026-11-26-behind-the-constants.md).
CHECKS = 2

# Most log-ins that wait for a check in one process: about a second's work.
LOGINS_WAITING_MAX = 50

log = logs.get(__name__)


class LoginCheck:
    """Checks log-ins, a few at a time. No database connection is held while a password is hashed."""

    def __init__(self, reader: DatabaseReader, writer: Engine, failures: LoginFailures) -> None:
        """Take a reader of the primary, and an engine for the primary that writes hashes anew; `close` closes it."""
        self._reader = reader
        self._writer = writer
        self._failures = failures
        self._line = LoginLine(CHECKS, LOGINS_WAITING_MAX)
        self._threads = ThreadPoolExecutor(CHECKS, thread_name_prefix="login")

    async def user(
        self,
        email: str,
        password: str,
        address: str,
        *,
        is_gone: Callable[[], bool],
        on_failure: Callable[[str], object],
    ) -> User:
        """Return the user who logs in from a client address. `is_gone` tells whether the client has hung up.

        `on_failure` is called when the password was checked and is wrong, with the address of the account that there
        is, else with "": what was typed may be a password, or somebody else's address.

        Raises the 401, the same for a wrong password, an unknown and a disabled user; the 429 after too many
        failures; the 503 when too many wait or the database is away.
        """
        attempt = self._failures.attempt(email, address)
        standing = await self._standing(attempt)
        lane = attempt.client if standing.is_known else attempt.address
        async with self._line.turn(lane, is_gone):
            # Again: those before it in the line may have failed.
            standing = await self._standing(attempt)
            row = await self._reader.one_statement(users.find, email)
            user = await self._in_thread(users.check, row, password)
            if user is None or row is None:
                on_failure(row.email if row is not None else "")
                await self._failures.failed(attempt.counted(standing.is_known))
                raise ApiError(
                    falcon.HTTP_401, "Invalid credentials", "credentials", headers={"WWW-Authenticate": "Bearer"}
                )
            await self._failures.succeeded(attempt, standing.is_known)
            if users.needs_rehash(row):
                await self._rehash(row, password)
        return user

    async def close(self) -> None:
        """Stop the threads and close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._writer.dispose()
        await self._failures.close()

    async def _standing(self, attempt: Attempt) -> Standing:
        standing = await self._failures.standing(attempt)
        if standing.wait:
            raise ApiError(falcon.HTTP_429, "Too many failed log-ins", "login_limited", retry_after=standing.wait)
        return standing

    async def _rehash(self, row: Row[Any], password: str) -> None:
        try:
            await self._in_thread(users.rehash, self._writer, row, password)
        except SQLAlchemyError as error:
            # The next log-in tries again.
            log.warning("password not hashed anew", reason=reason_of(error))

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
