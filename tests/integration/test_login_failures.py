"""ingest_api.auth.login_failures: counts that all processes share, for as long as they should."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ingest_api.auth.login_failures import DELAY_MAX, KNOWN_TTL, WINDOW, LoginFailures
from schema.queue.keys import LOGIN_FAILURES_PREFIX, LOGIN_KNOWN_PREFIX
from tests.integration.backends import Backend

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FREE = 3

# Failures whose delay, half a minute, outlasts a test.
MANY = FREE + 5

HOME, AWAY = "192.0.2.1", "2001:db8::/64"
ADA, BOB = "Ada@example.com", "bob@example.com"

Work = Callable[[LoginFailures, LoginFailures], Awaitable[None]]


def run(backend: Backend, work: Work) -> None:
    """Run `work` with the counts of two processes."""

    async def main() -> None:
        both = [LoginFailures(backend.async_shards(2)[0], PRIVATE, FREE) for _ in range(2)]
        await work(*both)
        for each in both:
            await each.close()

    asyncio.run(main())


async def fail(failures: LoginFailures, email: str, address: str, times: int = MANY) -> None:
    attempt = failures.attempt(email, address)
    counted = attempt.counted((await failures.standing(attempt)).is_known)
    for _ in range(times):
        await failures.failed(counted)


async def wait_of(failures: LoginFailures, email: str, address: str) -> int:
    return (await failures.standing(failures.attempt(email, address))).wait


async def succeed(failures: LoginFailures, email: str, address: str) -> None:
    attempt = failures.attempt(email, address)
    await failures.succeeded(attempt, (await failures.standing(attempt)).is_known)


def test_account_and_address_are_counted_by_all_processes_together(backend: Backend):
    async def work(one: LoginFailures, other: LoginFailures) -> None:
        await fail(one, ADA, HOME, FREE - 1)
        assert await wait_of(other, ADA, HOME) == 0

        await fail(other, ADA.lower(), HOME, MANY - FREE + 1)

        for each in (one, other):
            assert await wait_of(each, ADA.upper(), AWAY) > 0
            assert await wait_of(each, BOB, HOME) > 0
            assert await wait_of(each, BOB, AWAY) == 0

    run(backend, work)


@pytest.mark.parametrize(("failures", "delay"), [(FREE, 1), (FREE + 1, 2), (MANY, 32), (FREE + 10, DELAY_MAX)])
def test_a_count_lives_for_the_window_after_its_delay(backend: Backend, failures: int, delay: int):
    async def work(one: LoginFailures, _: LoginFailures) -> None:
        await fail(one, ADA, HOME, failures)
        assert await wait_of(one, ADA, AWAY) <= delay

    run(backend, work)
    for key in backend.client.keys(LOGIN_FAILURES_PREFIX + "*"):
        assert WINDOW + delay - 30 < backend.client.ttl(key) <= WINDOW + delay


def test_a_success_forgets_the_account_and_not_the_address(backend: Backend):
    async def work(one: LoginFailures, other: LoginFailures) -> None:
        await fail(one, ADA, HOME)

        await succeed(other, ADA, HOME)

        assert await wait_of(one, ADA, AWAY) == 0
        assert await wait_of(one, BOB, HOME) > 0

    run(backend, work)


def test_a_client_that_logged_in_is_counted_by_itself(backend: Backend):
    async def work(one: LoginFailures, other: LoginFailures) -> None:
        await succeed(one, ADA, HOME)
        await fail(other, ADA, AWAY)
        await fail(other, BOB, HOME)

        assert await wait_of(other, ADA, HOME) == 0
        assert await wait_of(other, ADA, AWAY) > 0
        # Its success leaves the account's count to whoever guesses.
        await succeed(other, ADA, HOME)
        assert await wait_of(one, ADA, AWAY) > 0

        await fail(one, ADA, HOME)
        assert await wait_of(other, ADA, HOME) > 0

    run(backend, work)
    (key,) = backend.client.keys(LOGIN_KNOWN_PREFIX + "*")
    assert KNOWN_TTL - 60 <= backend.client.ttl(key) <= KNOWN_TTL


def test_what_a_full_redis_does_not_take_is_counted_by_the_process(backend: Backend):
    async def work(one: LoginFailures, other: LoginFailures) -> None:
        backend.client.config_set("maxmemory", 1)
        try:
            await fail(one, ADA, HOME)

            assert await wait_of(one, ADA, AWAY) > 0
            assert await wait_of(other, ADA, AWAY) == 0
            assert await wait_of(one, BOB, AWAY) == 0
        finally:
            backend.client.config_set("maxmemory", 0)

    run(backend, work)


def test_nothing_in_redis_names_a_user_or_an_address(backend: Backend):
    async def work(one: LoginFailures, _: LoginFailures) -> None:
        await fail(one, ADA, HOME, 2)
        await succeed(one, ADA, HOME)

    run(backend, work)
    keys = backend.client.keys("leads:login:*")
    assert len(keys) >= 2
    found = b"".join([*keys, *(backend.client.get(key) or b"" for key in keys)]).lower()
    assert b"@" not in found
    assert HOME.encode() not in found
