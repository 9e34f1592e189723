"""A queue that moves: cut short, or beside a replay, no dead letter is lost or doubled, and no key is used twice."""

import asyncio
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ingest_api.intake.append import AppendRequest, NewLead, Verdict
from ingest_api.intake.group_commit import QueueUnavailable
from ingest_api.intake.probe import QueueTakesNothing, append_probe
from ingest_api.intake.shard_router import ShardRouter
from schema.database import idempotency
from schema.lead import codec
from schema.lead.lead_id import LeadId, new_lead_id
from schema.ledger import read_ledger
from schema.queue import moving as moving_module
from schema.queue.dead_letters import DeadLetters
from schema.queue.keys import DEAD, FENCE, IDEMPOTENCY_PREFIX, STREAM
from schema.queue.moving import Moving
from schema.runtime.redis_clients import ShardClient, async_shards, blocking_shards
from schema.settings import Settings
from tests.integration.backends import POISON, Backend, fields_of, writer
from tests.kit.sentinels import Replica
from tests.kit.servers import Place, until
from workers.store.consumer import Consumer
from workers.store.slot_lease import SlotLease
from workers.store.storing import Storing
from workers.upkeep.sweep import Sweep

pytestmark = pytest.mark.hosts

SHARDS = 3


@pytest.fixture
def settings(backend: Backend) -> Settings:
    return backend.with_settings(queue_next_shards=SHARDS, dead_letter_max_share=1.0)


@pytest.fixture
def shards(settings: Settings) -> list[ShardClient]:
    return blocking_shards(settings, timeout=10)


@pytest.fixture
def move(settings: Settings, shards: list[ShardClient]) -> Moving:
    return Moving(shards[:1], shards[1:], settings)


def append(settings: Settings, number: int, key: bytes = b"", *, absent: bool = False) -> tuple[Verdict, LeadId]:
    """Append a lead as the API does, with the hash of a key or without."""

    async def run() -> tuple[Verdict, LeadId]:
        clients = async_shards(settings, connections=1)
        now = len(settings.shards)
        following = ShardRouter(clients[now:], settings, lambda *_: None) if clients[now:] else None
        router = ShardRouter(clients[:now], settings, lambda *_: None, next_queue=following)
        lead = new_lead_id()
        name = IDEMPOTENCY_PREFIX + key.hex() if key else ""
        new = (NewLead(lead, codec.encode(lead, fields_of(number, firstName=POISON))),)
        digest = hashlib.sha256(b"%d" % number).digest()
        request = AppendRequest(leads=new, key=name, digest=digest, key_absent_in_database=absent)
        try:
            return (await router.submit(request)).verdict, lead
        finally:
            await router.close()

    return asyncio.run(run())


def store(settings: Settings) -> None:
    shards = blocking_shards(settings, timeout=10)
    consumers = [Consumer(each, settings) for each in shards]
    Storing(consumers, writer(settings), SlotLease(shards[0], uuid.uuid4().hex), settings).run()


def imbalance(backend: Backend, shards: list[ShardClient]) -> int:
    with backend.engine.connect() as connection:
        return read_ledger(connection, shards).imbalance


def fence(backend: Backend, move: Moving) -> None:
    with backend.engine.connect() as connection:
        move.fence(connection)


def dead(shards: list[ShardClient]) -> list[int]:
    return [int(client.xlen(shard.name(DEAD))) for shard, client in shards]


def some_dead_letters(backend: Backend, settings: Settings, number: int) -> None:
    backend.refuse(POISON)
    for each in range(number):
        append(settings, each, idempotency.key_of("ada", f"order-{each}"), absent=True)
    store(settings)


def test_dead_letters_go_with_their_keys(backend: Backend, settings: Settings, shards: list[ShardClient], move: Moving):
    # Given dead letters of leads with keys
    some_dead_letters(backend, settings, 6)
    fence(backend, move)

    # When they are moved
    assert move.move_dead_letters() == 6

    # Then they are in the next queue alone, and their keys are known there
    assert dead(shards)[0] == 0
    assert DeadLetters(shards).count() == 6
    after = backend.with_settings(queue_shards=SHARDS)
    assert [append(after, each, idempotency.key_of("ada", f"order-{each}"))[0] for each in range(6)] == [
        Verdict.DUPLICATE
    ] * 6
    assert imbalance(backend, shards) == 0


def test_a_move_that_is_cut_short_doubles_no_letter(
    backend: Backend, settings: Settings, shards: list[ShardClient], move: Moving, monkeypatch: pytest.MonkeyPatch
):
    some_dead_letters(backend, settings, 4)
    fence(backend, move)
    # Given a move that is killed before the old letters are dropped
    with monkeypatch.context() as patch:
        patch.setattr(Moving, "_confirm", _killed)
        with pytest.raises(KeyboardInterrupt):
            move.move_dead_letters()
    assert sum(dead(shards)) == 8

    # When it runs again
    move.move_dead_letters()

    # Then each is there once
    assert dead(shards)[0] == 0
    assert sum(dead(shards)) == 4
    assert imbalance(backend, shards) == 0


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_letter_that_is_replayed_while_it_moves_is_no_letter(
    backend: Backend, settings: Settings, shards: list[ShardClient], move: Moving, monkeypatch: pytest.MonkeyPatch
):
    some_dead_letters(backend, settings, 1)
    fence(backend, move)
    (letter,) = list(DeadLetters(shards))
    # Given somebody who replays it just before it leaves
    monkeypatch.setattr(Moving, "_confirm", lambda *_: DeadLetters(shards).replay(letter))

    # When it is moved
    assert move.move_dead_letters() == 0

    # Then it waits in the old queue, and is nowhere else
    assert dead(shards) == [0] * (1 + SHARDS)
    assert move.waiting() == 1
    assert imbalance(backend, shards) == 0


def test_dead_letters_of_two_servers_are_both_seen(backend: Backend, settings: Settings, shards: list[ShardClient]):
    # Given a queue that moves to another server with as many shards, here to another database of the same
    some_dead_letters(backend, settings, 2)
    elsewhere = backend.queue.client()
    elsewhere.connection_pool.connection_kwargs["db"] = 1
    other = ShardClient(shards[0].shard._replace(url="redis://elsewhere"), elsewhere)

    # Then those of the first are found beside the other's, which has none
    assert [each.entry for each in DeadLetters([shards[0], other])] == [
        name.decode() for name, _ in shards[0].client.xrange(DEAD)
    ]


def test_a_queue_that_was_left_does_not_claim_to_know_all_keys_when_it_is_entered_again(
    backend: Backend, settings: Settings, shards: list[ShardClient], move: Moving
):
    # Given an old queue that knows that it was the first, and was left by a move that was not finished
    assert append(settings, 1)[0] is Verdict.APPENDED
    Sweep(shards, backend.engine, settings).run()
    fence(backend, move)
    key = idempotency.key_of("ada", "order")
    assert append(settings, 2, key, absent=True)[0] is Verdict.APPENDED
    store(settings)

    # When the queue moves back
    back = backend.with_settings(queue_shards=SHARDS, queue_next_shards=1)
    fence(backend, Moving(shards[1:], shards[:1], back))

    # Then the old queue asks the database about a key that came meanwhile
    assert append(settings, 2, key)[0] is Verdict.KEY_UNVERIFIED
    assert imbalance(backend, shards) == 0


def test_no_api_starts_on_a_queue_that_was_left(backend: Backend, settings: Settings, move: Moving):
    fence(backend, move)

    append_probe(settings, 0)
    with pytest.raises(QueueTakesNothing, match="moved by"):
        append_probe(backend.settings, 0)


@pytest.fixture
def replicated() -> Iterator[tuple[Replica, Replica]]:
    with Replica(Place(), None) as primary, Replica(Place(), primary) as replica:
        until(lambda: primary.client().info("replication").get("slave0", {}).get("state") == "online")
        yield primary, replica


@pytest.mark.parametrize("backend", ["embedded"], indirect=True)
def test_a_fence_that_no_replica_has_moves_nobody(
    backend: Backend, replicated: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
):
    # Given a fence on the primary alone, where a failover would lift it
    primary, replica = replicated
    settings = replace(
        backend.settings, redis_url=primary.url, redis_replicas=1, redis_timeout=1.0, queue_next_shards=SHARDS
    )
    assert append(settings, 1)[0] is Verdict.APPENDED
    replica.hang()
    primary.client().set(FENCE, 1)

    # When a lead comes in, then it goes nowhere
    with pytest.raises(QueueUnavailable):
        append(settings, 2)
    shards = blocking_shards(settings, timeout=10)
    assert [client.xlen(shard.name(STREAM)) for shard, client in shards[1:]] == [0] * SHARDS
    replica.resume()

    # And a move whose fence is not confirmed says so
    replica.hang()
    monkeypatch.setattr(moving_module, "MOVE_TIMEOUT", 0.2)
    with pytest.raises(Exception, match="fewer than 1 replicas"):
        fence(backend, Moving(shards[:1], shards[1:], settings))
    replica.resume()
