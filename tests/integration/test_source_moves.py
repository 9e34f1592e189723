"""Sources of a queue in several shards: each in one shard, with one cap, also while the queue moves."""

import asyncio
import hashlib
from collections import Counter, defaultdict

import pytest

from ingest_api.intake.append import AppendRequest, AppendResult, Verdict
from ingest_api.intake.shard_router import ShardRouter
from schema.lead import lead_id
from schema.lead.source import SourceLimits
from schema.queue import entries
from schema.queue.keys import DEAD, LEAD_FIELD, RATE_PREFIX, SOURCE_RATE_PREFIX, STREAM
from schema.queue.moving import Moving
from schema.runtime.redis_clients import ShardClient, async_shards, blocking_shards
from schema.settings import Settings
from schema.settings.shards import home_of
from tests.integration.backends import POISON, Backend
from tests.integration.test_moving import store
from tests.integration.test_source_limits import NEXT_DAY, NOON, sent, verdicts

pytestmark = pytest.mark.hosts

SHARDS = 3

ACME = SourceLimits("acme", daily_cap=10)


@pytest.fixture(params=[1, 2], ids=["of_one", "of_two"])
def settings(request: pytest.FixtureRequest, backend: Backend) -> Settings:
    """Of a queue of one or two shards that moves to one of three."""
    return backend.with_settings(queue_shards=request.param, queue_next_shards=SHARDS, dead_letter_max_share=1.0)


@pytest.fixture
def after(backend: Backend) -> Settings:
    """Of the queue that was moved to."""
    return backend.with_settings(queue_shards=SHARDS)


@pytest.fixture
def shards(settings: Settings) -> list[ShardClient]:
    return blocking_shards(settings, timeout=10)


@pytest.fixture
def move(settings: Settings, shards: list[ShardClient]) -> Moving:
    old = settings.queue_shards
    return Moving(shards[:old], shards[old:], settings)


def send(settings: Settings, *requests: AppendRequest, at_once: bool = False) -> list[AppendResult]:
    """Submit requests as an API process of these settings."""

    async def run() -> list[AppendResult]:
        clients = async_shards(settings, connections=1)
        now = len(settings.shards)
        following = ShardRouter(clients[now:], settings, lambda *_: None) if clients[now:] else None
        router = ShardRouter(clients[:now], settings, lambda *_: None, next_queue=following)
        try:
            if at_once:
                return await asyncio.gather(*map(router.submit, requests))
            return [await router.submit(each) for each in requests]
        finally:
            await router.close()

    return asyncio.run(run())


def fence(backend: Backend, move: Moving) -> None:
    with backend.engine.connect() as connection:
        move.fence(connection)


def close(backend: Backend, move: Moving, settings: Settings) -> None:
    store(settings)
    assert move.waiting() == 0
    with backend.engine.connect() as connection:
        move.close(connection)


def waiting(shards: list[ShardClient]) -> list[int]:
    return [int(client.xlen(shard.name(STREAM))) for shard, client in shards]


def places(shards: list[ShardClient], key: str) -> dict[str, list[int]]:
    """Return the number of the shard of each entry under a key, by source."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for shard, client in shards:
        for _, fields in client.xrange(shard.name(key)):
            found[entries.source_of(fields[LEAD_FIELD.encode()])].append(shard.number)
    return found


def test_all_leads_of_a_source_are_in_one_shard(backend: Backend):
    # Given several sources, whose clients are counted in any shard
    settings = backend.with_settings(queue_shards=SHARDS, rate_limit=1000)
    shards = blocking_shards(settings, timeout=10)
    sources = [SourceLimits(f"partner-{number}", rate=1000, daily_cap=12) for number in range(8)]
    addresses = [f"{RATE_PREFIX}192.0.2.{number}" for number in range(6)]
    assert {home_of(each, SHARDS) for each in addresses} == set(range(SHARDS))

    # When they send leads with and without a key, with and without a limit by address
    for each in sources:
        requests = [sent(each), sent(each, NOON, NOON)]
        requests += [sent(each, key=f"{each.name}-{number}") for number in range(3)]
        requests += [sent(each)._replace(rate_key=address) for address in addresses[:3]]
        requests += [sent(each, key=address + each.name)._replace(rate_key=address) for address in addresses[3:]]
        assert {*verdicts(send(settings, *requests, at_once=True))} == {Verdict.APPENDED}

    # Then those of each are in the shard of its name
    found = places(shards, STREAM)
    assert {name: {*each} for name, each in found.items()} == {
        each.name: {home_of(SOURCE_RATE_PREFIX + each.name, SHARDS)} for each in sources
    }
    assert {name: len(each) for name, each in found.items()} == {each.name: 12 for each in sources}
    assert all(waiting(shards)), "no shard is left out"
    # And each request was counted in the shard of its address
    for address in addresses:
        shard, client = shards[home_of(address, SHARDS)]
        assert int(client.get(shard.name(address))) == len(sources)
    # And their caps are used up, from wherever they send
    over = [sent(each)._replace(rate_key=address) for each in sources for address in addresses]
    assert {*verdicts(send(settings, *over))} == {Verdict.SOURCE_CAP}


def test_an_address_over_its_limit_uses_nothing_of_the_cap(backend: Backend):
    # Given an address that is counted in another shard than its source
    settings = backend.with_settings(queue_shards=SHARDS, rate_limit=1)
    home = home_of(f"{SOURCE_RATE_PREFIX}acme", SHARDS)
    addresses = [f"{RATE_PREFIX}192.0.2.{number}" for number in range(9)]
    elsewhere = next(each for each in addresses if home_of(each, SHARDS) != home)
    limited = [sent(ACME)._replace(rate_key=elsewhere) for _ in range(4)]

    assert verdicts(send(settings, *limited)) == [Verdict.APPENDED] + [Verdict.RATE_LIMITED] * 3

    assert verdicts(send(settings, sent(ACME, *[NOON] * 9), sent(ACME))) == [Verdict.APPENDED, Verdict.SOURCE_CAP]


def test_a_cap_goes_on_in_the_next_queue(backend: Backend, settings: Settings, shards: list[ShardClient], move: Moving):
    # Given a source with six of its ten leads in the old queue
    assert {*verdicts(send(settings, *(sent(ACME) for _ in range(6))))} == {Verdict.APPENDED}

    # When the queue moves, and more than the rest comes at once
    fence(backend, move)
    answers = send(settings, sent(ACME, *[NOON] * 5), *(sent(ACME) for _ in range(8)))

    # Then it gets exactly its cap in both together
    refused = Verdict.SOURCE_CAP
    assert verdicts(answers) == [refused] + [Verdict.APPENDED] * 4 + [refused] * 4
    assert [each.source_used for each in answers if each.verdict is refused] == [6, 10, 10, 10, 10]
    old = settings.queue_shards
    assert (sum(waiting(shards)[:old]), sum(waiting(shards)[old:])) == (6, 4)


def test_a_cap_goes_on_in_the_next_queue_for_many_at_once(
    backend: Backend, settings: Settings, shards: list[ShardClient], move: Moving
):
    send(settings, *(sent(ACME) for _ in range(3)))
    fence(backend, move)

    answers = send(settings, *(sent(ACME, key=f"order-{number}") for number in range(30)), at_once=True)

    assert Counter(verdicts(answers)) == {Verdict.APPENDED: 7, Verdict.SOURCE_CAP: 23}
    assert sum(waiting(shards)) == 10
    # And a repeat is a duplicate, whatever is left
    again = send(settings, *(sent(ACME, key=f"order-{number}") for number in range(30)))
    assert Counter(verdicts(again)) == {Verdict.DUPLICATE: 7, Verdict.SOURCE_CAP: 23}


def test_a_cap_goes_on_once_the_counts_of_the_old_queue_are_gone(
    backend: Backend, settings: Settings, after: Settings, move: Moving
):
    # Given a source with six leads in the old queue and two in the next
    send(settings, sent(ACME, *[NOON] * 6))
    fence(backend, move)
    send(settings, sent(ACME, *[NOON] * 2))

    # When the move is finished, and a process still knows both queues
    for _ in range(2):
        close(backend, move, settings)
    known_both = send(settings, sent(ACME, *[NOON] * 3), sent(ACME))

    # Then eight are used, whoever asks, and the next day is whole
    assert verdicts(known_both) == [Verdict.SOURCE_CAP, Verdict.APPENDED]
    assert known_both[0].source_used == 8
    answers = send(after, sent(ACME, *[NOON] * 2), sent(ACME), sent(ACME), sent(ACME, *[NEXT_DAY] * 10))
    refused, appended = Verdict.SOURCE_CAP, Verdict.APPENDED
    assert verdicts(answers) == [refused, appended, refused, appended]
    assert [each.source_used for each in answers] == [9, 0, 10, 0]


def test_a_cap_goes_on_through_a_second_move(
    backend: Backend, settings: Settings, shards: list[ShardClient], move: Moving
):
    # Given a queue that was moved, with leads of before and of since
    send(settings, sent(ACME, *[NOON] * 6))
    fence(backend, move)
    send(settings, sent(ACME, *[NOON] * 2))
    close(backend, move, settings)

    # When it moves back
    old = settings.queue_shards
    back = backend.with_settings(queue_shards=SHARDS, queue_next_shards=old)
    moving_back = Moving(shards[old:], shards[:old], back)
    fence(backend, moving_back)
    assert verdicts(send(back, sent(ACME, *[NOON] * 3), sent(ACME))) == [Verdict.SOURCE_CAP, Verdict.APPENDED]
    close(backend, moving_back, back)

    # Then nine are used there
    there = backend.with_settings(queue_shards=old)
    assert verdicts(send(there, sent(ACME, NOON, NOON), sent(ACME))) == [Verdict.SOURCE_CAP, Verdict.APPENDED]


def test_a_cap_goes_on_when_a_move_is_turned_back_before_its_end(
    backend: Backend, settings: Settings, shards: list[ShardClient], move: Moving
):
    # Given a move that is not finished, with six leads of a source in the old queue and two in the next
    send(settings, sent(ACME, *[NOON] * 6))
    fence(backend, move)
    send(settings, sent(ACME, *[NOON] * 2))

    # When the queue moves back
    old = settings.queue_shards
    back = backend.with_settings(queue_shards=SHARDS, queue_next_shards=old)
    moving_back = Moving(shards[old:], shards[:old], back)
    fence(backend, moving_back)
    answers = send(back, *(sent(ACME) for _ in range(4)))

    # Then two more are accepted, and none after the end of it
    assert verdicts(answers) == [Verdict.APPENDED] * 2 + [Verdict.SOURCE_CAP] * 2
    close(backend, moving_back, back)
    assert verdicts(send(backend.with_settings(queue_shards=old), sent(ACME))) == [Verdict.SOURCE_CAP]


def test_a_bulk_of_two_days_is_within_the_cap_of_each_while_the_queue_moves(
    backend: Backend, settings: Settings, shards: list[ShardClient], move: Moving
):
    # Given a source that has used up the second day in the old queue, and nothing of the first
    send(settings, sent(ACME, *[NEXT_DAY] * 10))
    fence(backend, move)

    # When a bulk of both days comes, or one of the first
    answers = send(settings, sent(ACME, NEXT_DAY - 1, NEXT_DAY), sent(ACME, NEXT_DAY - 1))

    # Then only that of the first has room
    assert verdicts(answers) == [Verdict.SOURCE_CAP, Verdict.APPENDED]
    assert sum(waiting(shards)) == 11


def test_a_dead_letter_goes_to_the_shard_of_its_source_with_its_key(
    backend: Backend, settings: Settings, after: Settings, shards: list[ShardClient], move: Moving
):
    # Given dead letters of several sources, with and without a key
    backend.refuse(POISON)
    names = [f"partner-{number}" for number in range(4)]
    sources = [SourceLimits(name) for name in names]
    with_key = [sent(each, key=f"{each.name}-{number}", firstName=POISON) for each in sources for number in range(3)]
    send(settings, *with_key, *(sent(each, firstName=POISON) for each in sources))
    store(settings)
    fence(backend, move)

    # When they are moved
    assert move.move_dead_letters() == 16

    # Then each is in its source's shard
    old = settings.queue_shards
    assert places(shards[:old], DEAD) == {}
    assert places(shards[old:], DEAD) == {name: [home_of(SOURCE_RATE_PREFIX + name, SHARDS)] * 4 for name in names}
    # And a repeat is a duplicate with the id of the first, wherever it is asked
    for each in (settings, after):
        answers = send(each, *with_key)
        assert {*verdicts(answers)} == {Verdict.DUPLICATE}
        assert [lead_id.to_text(found.id) for found in answers] == [
            lead_id.to_text(first.leads[0].id) for first in with_key
        ]
    conflict = with_key[0]._replace(digest=hashlib.sha256(b"other").digest())
    assert verdicts(send(after, conflict)) == [Verdict.CONFLICT]
