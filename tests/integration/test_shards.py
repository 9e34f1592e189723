"""A queue in several shards, here on one Redis: workers take from all, and all that adds up or lists goes over all."""

import asyncio
import uuid

import pytest
from click.testing import CliRunner, Result

from ingest_api.intake.append import AppendRequest, NewLead, Verdict
from ingest_api.intake.group_commit import GroupCommit
from schema.lead import codec
from schema.lead.lead_id import LeadId, new_lead_id
from schema.ledger import read_ledger
from schema.person.command import person
from schema.queue.accepted_counts import Accepted
from schema.queue.dead_letters import DeadLetters, is_name
from schema.queue.keys import ACCEPTED, DEAD, FIRST_FIELD, STREAM
from schema.queue.stats import read_queue
from schema.runtime.redis_clients import ShardClient, async_shards, blocking_shards
from schema.settings import Settings
from tests.integration.backends import POISON, Backend, fields_of, writer
from workers.cli import main
from workers.store.batch import StoringFailed
from workers.store.consumer import Consumer
from workers.store.fallback_poller import FallbackPoller
from workers.store.slot_lease import SlotLease
from workers.store.storing import Storing
from workers.upkeep.sweep import Sweep

pytestmark = pytest.mark.hosts


SHARDS = 3


@pytest.fixture
def settings(backend: Backend) -> Settings:
    return backend.with_settings(queue_shards=SHARDS, batch_size=10)


@pytest.fixture
def shards(settings: Settings) -> list[ShardClient]:
    return blocking_shards(settings, timeout=10)


def append(settings: Settings, *fields: dict[str, object]) -> list[LeadId]:
    """Append leads as the API does, one after the other to each shard in turn."""

    async def run() -> list[LeadId]:
        commits = [
            GroupCommit(client, settings, lambda *_: None, shard)
            for shard, client in async_shards(settings, connections=1)
        ]
        found = []
        for number, each in enumerate(fields):
            lead = new_lead_id()
            request = AppendRequest(leads=(NewLead(lead, codec.encode(lead, dict(each))),))
            assert (await commits[number % SHARDS].submit(request)).verdict is Verdict.APPENDED
            found.append(lead)
        for commit in commits:
            await commit.close()
        return found

    return asyncio.run(run())


def storing_of(settings: Settings, shards: list[ShardClient]) -> Storing:
    consumers = [Consumer(each, settings) for each in shards]
    return Storing(consumers, writer(settings), SlotLease(shards[0], uuid.uuid4().hex), settings)


def waiting(shards: list[ShardClient]) -> list[int]:
    return [int(client.xlen(shard.name(STREAM))) for shard, client in shards]


def imbalance(backend: Backend, shards: list[ShardClient]) -> int:
    with backend.engine.connect() as connection:
        return read_ledger(connection, shards).imbalance


def dead_letters(settings: Settings, *arguments: str) -> Result:
    environment = {
        "LEADS_REDIS_URL": settings.redis_url,
        "LEADS_DATABASE_URL": settings.database_url,
        "LEADS_QUEUE_SHARDS": str(settings.queue_shards),
    }
    return CliRunner(env=environment).invoke(main, ["dead-letters", *arguments], catch_exceptions=False)


def test_one_ticket_stores_from_all_shards(backend: Backend, settings: Settings, shards: list[ShardClient]):
    # Given leads in each shard
    ids = append(settings, *(fields_of(number) for number in range(27)))
    assert waiting(shards) == [9, 9, 9]

    # When a ticket is served
    result = storing_of(settings, shards).run()

    # Then all are rows, and the ledger balances over all shards
    assert result == {"stored": 27, "duplicates": 0, "dead": 0}
    assert backend.stored() == set(ids)
    assert waiting(shards) == [0, 0, 0]
    backend.assert_counted()
    assert imbalance(backend, shards) == 0


def test_each_shard_gets_its_turn_also_when_the_time_is_short(
    settings: Settings, shards: list[ShardClient], monkeypatch: pytest.MonkeyPatch
):
    # Given a ticket's time that is over after one batch
    monkeypatch.setattr("workers.store.storing.TICKET_TIME_BUDGET", 0.0)
    append(settings, *(fields_of(number) for number in range(60)))
    storing = storing_of(settings, shards)

    # When a ticket is served
    storing.run()

    # Then it took a batch from each
    assert waiting(shards) == [10, 10, 10]


def test_a_shard_that_is_away_does_not_keep_the_others(settings: Settings, shards: list[ShardClient], backend: Backend):
    # Given leads in all shards, of which one does not answer
    append(settings, *(fields_of(number) for number in range(9)))
    gone = settings.shards[1]._replace(url="redis://127.0.0.1:1")
    away = blocking_shards(backend.with_settings(redis_url=gone.url), timeout=1)[0].client
    storing = storing_of(settings, [shards[0], ShardClient(gone, away), shards[2]])

    # When a ticket is served
    with pytest.raises(StoringFailed, match="queue: ConnectionError"):
        storing.run()

    # Then the others are empty
    assert waiting(shards) == [0, 3, 0]
    # And the next ticket does not wait for it
    storing.run()
    assert imbalance(backend, shards) == 0


def test_leads_without_a_ticket_are_found_in_any_shard(settings: Settings, shards: list[ShardClient], backend: Backend):
    append(settings, *(fields_of(number) for number in range(9)))
    poller = FallbackPoller(shards, backend.client, storing_of(settings, shards))

    assert poller.poll() == 0
    assert poller.poll() == 9
    assert waiting(shards) == [0, 0, 0]


def test_dead_letters_are_listed_paged_and_replayed_over_all_shards(
    backend: Backend, settings: Settings, shards: list[ShardClient]
):
    # Given dead letters in each shard
    backend.refuse(POISON)
    append(settings, *(fields_of(number, firstName=POISON) for number in range(9)))
    relaxed = backend.with_settings(queue_shards=SHARDS, dead_letter_max_share=1.0, dead_letter_max_in_a_row=0)
    storing_of(relaxed, shards).run()
    assert [client.xlen(shard.name(DEAD)) for shard, client in shards] == [3, 3, 3]

    # Then they are one list, the oldest first, of which pages fit together
    letters = DeadLetters(shards)
    listed = [each.name for each in letters]
    assert len(listed) == letters.count() == 9
    assert all(map(is_name, listed))
    times = [each.since for each in letters]
    assert times == sorted(times)
    for place, name in enumerate(listed):
        assert [each.name for each in letters.walk(name, 2)] == listed[place + 1 :]
        found = letters.find(name)
        assert found is not None
        assert found.name == name
    assert letters.find("1-1-99999") is None

    # And the command shows them, and puts one and then all of them back
    backend.stop_refusing()
    assert [line.split("\t")[0] for line in dead_letters(settings, "list").output.splitlines()] == listed
    assert dead_letters(settings, "replay", listed[4]).output == "1 back in the queue.\n"
    assert dead_letters(settings, "replay", "--all").output == "8 back in the queue.\n"
    storing_of(settings, shards).run()
    assert letters.count() == 0
    assert imbalance(backend, shards) == 0


def test_a_dead_letter_is_dropped_in_its_shard(backend: Backend, settings: Settings, shards: list[ShardClient]):
    backend.refuse(POISON)
    append(settings, fields_of(0, firstName=POISON), fields_of(1, firstName=POISON))
    storing_of(backend.with_settings(queue_shards=SHARDS, dead_letter_max_share=1.0), shards).run()
    (first, second) = list(DeadLetters(shards))

    assert dead_letters(settings, "drop", "--yes", second.name).output == "1 deleted.\n"

    assert [each.name for each in DeadLetters(shards)] == [first.name]
    assert imbalance(backend, shards) == 0


def test_the_sweep_copies_the_counts_of_each_shard(backend: Backend, settings: Settings, shards: list[ShardClient]):
    # Given leads in each shard, whose epochs differ
    append(settings, *(fields_of(number) for number in range(9)))
    epochs = [Accepted.parse(client.hgetall(shard.name(ACCEPTED))).epoch for shard, client in shards]
    assert [epoch % 100 for epoch in epochs] == [0, 1, 2]

    # When the sweep has copied them
    Sweep(shards, backend.engine, settings).run()

    # Then each shard knows that it has never lost its data
    assert [client.hget(shard.name(ACCEPTED), FIRST_FIELD) for shard, client in shards] == [b"1"] * SHARDS
    # And the ledger balances also when one loses them
    storing_of(settings, shards).run()
    shard, client = shards[1]
    client.delete(shard.name(ACCEPTED))
    assert imbalance(backend, shards) == 0
    # Which then has an epoch that is not its first
    append(settings, *(fields_of(number) for number in range(3)))
    Sweep(shards, backend.engine, settings).run()
    assert client.hget(shard.name(ACCEPTED), FIRST_FIELD) is None
    assert imbalance(backend, shards) == 0


def test_the_numbers_of_all_shards_are_added_up(backend: Backend, settings: Settings, shards: list[ShardClient]):
    append(settings, *(fields_of(number) for number in range(7)))

    found = read_queue(shards, backend.client)

    assert found["waiting"] == 7
    assert found["oldest"] > 0
    assert found["tickets"] == 0


def test_a_person_is_erased_from_every_shard(backend: Backend, settings: Settings, shards: list[ShardClient]):
    # Given a person's leads, waiting in each shard between those of others
    append(settings, *(fields_of(number, email="ann@example.org") for number in range(3)), fields_of(4))
    environment = {
        "LEADS_REDIS_URL": settings.redis_url,
        "LEADS_DATABASE_URL": settings.database_url,
        "LEADS_QUEUE_SHARDS": str(SHARDS),
        "LEADS_DATA_DIR": str(settings.data_dir),
    }

    result = CliRunner(env=environment).invoke(person, ["erase", "--yes", "--email", "ann@example.org"])

    assert result.exit_code == 0, result.output
    assert sum(waiting(shards)) == 1
    assert imbalance(backend, shards) == 0
