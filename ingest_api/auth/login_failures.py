"""Failed log-ins, counted by account and by client address, in Redis over all processes.

A client that logged in lately, an account at an address, is counted by itself: others who guess the password of the
account lock it out nowhere else, nor does a neighbour at the address (OWASP's device cookies, by address).
"""

import hashlib
import hmac
import math
import time
from typing import NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisSlow

from ingest_api.auth.local_failures import LocalFailures, delay_after
from schema.queue.keys import LOGIN_FAILURES_PREFIX, LOGIN_KNOWN_PREFIX
from schema.runtime import logs
from schema.runtime.redis_clients import AsyncShardClient

# Seconds: how long failures count after the last one, the longest delay, and how long a client is known.
WINDOW = 15 * 60
DELAY_MAX = 15 * 60
KNOWN_TTL = 30 * 24 * 3600

# Time (seconds) for which a Redis that did not answer is not asked again: a log-in waits for it while it checks.
AWAY_PAUSE = 2.0

log = logs.get(__name__)


class Attempt(NamedTuple):
    """A log-in by what it is counted by, as keyed hashes: neither addresses nor users are in Redis."""

    account: str
    address: str
    client: str  # account and address

    def counted(self, is_known: bool) -> tuple[str, ...]:
        """Return what its failure is counted by."""
        return (self.client,) if is_known else (self.account, self.address)


class Standing(NamedTuple):
    """What is known of an attempt before its password is checked."""

    is_known: bool  # whether the account logged in from this address lately
    wait: int  # seconds until a log-in is allowed; 0: now


class LoginFailures:
    """Counts failures. What Redis does not take is counted in this process. Use it from the event loop."""

    def __init__(self, shard: AsyncShardClient, private: rsa.RSAPrivateKey, free: int) -> None:
        """Take a client that `close` closes, the key that the hashes depend on, and how many failures have no delay."""
        self._failures_prefix, self._known_prefix = map(shard.shard.name, (LOGIN_FAILURES_PREFIX, LOGIN_KNOWN_PREFIX))
        secret = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._secret = hashlib.sha256(b"lead-ingest log-in" + secret).digest()
        self._redis = shard.client
        self._free = free
        self._local = LocalFailures(free, WINDOW, DELAY_MAX)
        self._away_until = 0.0

    def attempt(self, email: str, address: str) -> Attempt:
        """Return what a log-in of `email` from a client address is counted by."""
        email = email.lower()
        return Attempt(
            self._hash("account", email), self._hash("address", address), self._hash("client", email, address)
        )

    async def standing(self, attempt: Attempt) -> Standing:
        """Tell whether the attempt must wait, and what it is counted by."""
        try:
            is_known, waits = await self._ask(attempt)
        except (RedisError, OSError) as error:
            self._note(error)
            is_known, waits = self._local.is_known(attempt.client), {}
        names = attempt.counted(is_known)
        wait = max(max(waits.get(name, 0.0), self._local.wait(name)) for name in names)
        return Standing(is_known, math.ceil(wait))

    async def failed(self, names: tuple[str, ...]) -> None:
        """Count a failure under the names of Attempt.counted."""
        try:
            self._check_away()
            await self._count([self._failures_prefix + name for name in names])
        except (RedisError, OSError) as error:
            self._note(error)
            for name in names:
                self._local.failed(name)

    async def succeeded(self, attempt: Attempt, is_known: bool) -> None:
        """Remember the client. Forget the failures that the attempt was judged by, except those of the address.

        A log-in from elsewhere does not forget the account's: its owner would clear the count of who guesses.
        """
        name = attempt.client if is_known else attempt.account
        self._local.succeeded(attempt.client, name)
        try:
            self._check_away()
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.set(self._known_prefix + attempt.client, b"", ex=KNOWN_TTL)
                pipeline.delete(self._failures_prefix + name)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._note(error)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _ask(self, attempt: Attempt) -> tuple[bool, dict[str, float]]:
        self._check_away()
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.exists(self._known_prefix + attempt.client)
            for name in attempt:
                pipeline.pttl(self._failures_prefix + name)
            known, *left = await pipeline.execute()
        return bool(known), {name: each / 1000 - WINDOW for name, each in zip(attempt, left, strict=True)}

    async def _count(self, keys: list[str]) -> None:
        """Count one failure more under each key. A log-in is refused as long as the TTL is longer than the window."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.set(key, 0, ex=WINDOW, nx=True)
                pipeline.incr(key)
            counts = (await pipeline.execute())[1::2]
            for key, failures in zip(keys, counts, strict=True):
                pipeline.expire(key, WINDOW + delay_after(failures, self._free, DELAY_MAX))
            await pipeline.execute()

    def _hash(self, *parts: str) -> str:
        return hmac.digest(self._secret, "\0".join(parts).encode(errors="surrogatepass"), "sha256").hex()[:32]

    def _check_away(self) -> None:
        if time.monotonic() < self._away_until:
            raise RedisAway

    def _note(self, error: Exception) -> None:
        if isinstance(error, RedisAway | RedisSlow | OSError) and time.monotonic() >= self._away_until:
            self._away_until = time.monotonic() + AWAY_PAUSE
            log.warning("failed log-ins are counted in this process", reason=type(error).__name__)
