"""schema.database.idempotency: keys are kept with the rows, outlive Redis, and are forgotten in time."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from ingest_api.intake.append import AppendRequest
from schema.database import idempotency
from schema.database.idempotency import Remembered
from schema.database.tables import idempotency_keys
from schema.lead.lead_id import new_lead_id
from schema.queue import keys
from tests.integration.backends import POISON, Backend
from tests.integration.flushes import Line, with_key
from tests.integration.workers import DiesAfterCommit, Worker
from tests.kit.servers import until
from workers.store.batch import StoringFailed


def submit(backend: Backend, *operations: AppendRequest) -> None:
    """Submit operations, one after the other."""

    async def main() -> None:
        line = Line(backend)
        for operation in operations:
            await line.submit(operation)
        await line.commit.close()

    asyncio.run(main())


def key_of(operation: AppendRequest) -> bytes:
    return bytes.fromhex(operation.key.removeprefix(keys.IDEMPOTENCY_PREFIX))


def find(backend: Backend, key: bytes) -> Remembered | None:
    with backend.engine.connect() as connection:
        return idempotency.find(connection, key)


def test_a_stored_lead_leaves_its_key_in_the_database(backend: Backend):
    first, second = with_key("one", b"body"), with_key("two", b"body")
    submit(backend, first, second)
    backend.accept(1)

    Worker(backend).run()

    for operation in (first, second):
        expected = Remembered(key_of(operation), operation.digest, operation.leads[0].id)
        assert find(backend, key_of(operation)) == expected
    assert find(backend, b"0" * 32) is None


def test_a_batch_that_is_stored_again_keeps_its_keys(backend: Backend):
    operation = with_key("one", b"body")
    submit(backend, operation)
    with pytest.raises(StoringFailed):
        Worker(backend, DiesAfterCommit).run()

    other = Worker(backend)
    until(lambda: other.drain(backend))

    assert find(backend, key_of(operation)) == Remembered(key_of(operation), operation.digest, operation.leads[0].id)


def test_the_keys_of_the_others_are_kept_when_one_lead_is_poison(backend: Backend):
    good, bad = with_key("good", b"body"), with_key("bad", b"body")
    submit(backend, good, bad)
    entries = backend.client.xrange(keys.STREAM)
    backend.client.xdel(keys.STREAM, entries[1][0])
    fields = entries[1][1]
    backend.client.xadd(keys.STREAM, fields | {b"lead": fields[b"lead"].replace(b"Ada 0", POISON.encode())})
    backend.refuse(POISON)

    Worker(backend).run()

    assert find(backend, key_of(good)) is not None
    assert find(backend, key_of(bad)) is None
    [(_, letter)] = backend.client.xrange(keys.DEAD)
    assert keys.IDEMPOTENCY_PREFIX.encode() + letter[b"key"] == bad.key.encode()


def test_a_key_keeps_its_first_lead(backend: Backend):
    first, second = (Remembered(b"k" * 32, bytes([number]) * 32, new_lead_id()) for number in range(2))
    with backend.engine.begin() as connection:
        idempotency.remember(connection, [first])
        idempotency.remember(connection, [second])

    assert find(backend, b"k" * 32) == first


def test_keys_are_forgotten_when_their_life_is_over(backend: Backend):
    now = time.time()
    keys = [Remembered(bytes([number]) * 32, b"d" * 32, new_lead_id()) for number in range(3)]
    with backend.engine.begin() as connection:
        idempotency.remember(connection, keys)

        assert idempotency.forget(connection, 3600) == 0
        with time_machine.travel(datetime.fromtimestamp(now, UTC) + timedelta(seconds=3700), tick=False):
            assert idempotency.forget(connection, 3600) == 3

        assert connection.execute(select(func.count()).select_from(idempotency_keys)).scalar_one() == 0


def test_a_key_shows_neither_user_nor_key_and_differs_for_each():
    keys = {idempotency.key_of(user, key) for user in ("a", "ab") for key in ("b", "bb", "")}

    assert len(keys) == 6
    assert {len(key) for key in keys} == {32}
