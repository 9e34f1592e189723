"""First leads of a queue that moves: both queues know them, and neither remembers what is refused."""

import asyncio

from ingest_api.intake.append import AppendRequest, AppendResult, Verdict, duplicates_of
from ingest_api.intake.shard_router import ShardRouter
from schema.lead import codec
from schema.queue.keys import DEAD, STREAM
from schema.queue.moving import Moving
from schema.runtime.redis_clients import async_shards, blocking_shards
from schema.settings import Settings
from tests.integration.backends import Backend
from tests.integration.duplicates import DAYS, a_lead, again, contacts_in_database, rows, sent
from tests.integration.test_moving import fence, store
from tests.kit.servers import RedisServer


def route(settings: Settings, *requests: AppendRequest) -> list[AppendResult]:
    """Submit requests as an API process of a queue that may be moving."""

    async def work() -> list[AppendResult]:
        clients = async_shards(settings, connections=1)
        following = ShardRouter(clients[1:], settings, lambda *_: None) if clients[1:] else None
        router = ShardRouter(clients[:1], settings, lambda *_: None, next_queue=following)
        try:
            return [await router.submit(each) for each in requests]
        finally:
            await router.close()

    return asyncio.run(work())


def test_what_a_moving_queue_refuses_is_nobodys_first_lead(backend: Backend):
    with RedisServer() as other:
        settings = backend.with_settings(duplicate_days=DAYS, queue_next_url=other.url, queue_next_shards=1)
        shards = blocking_shards(settings, timeout=10)

        # Given a queue that moves, and a person in it
        person = a_lead()
        route(settings, sent(person))
        fence(backend, Moving(shards[:1], shards[1:], settings))

        # When a request that has duplicates refused holds the person with a new number, and then that number alone
        email, phone = (codec.decode(each.payload)[name] for each, name in ((person, "email"), (a_lead(), "phone")))
        (answer,) = route(
            settings, sent(a_lead(email=email, phone=phone), a_lead(phone=phone), refuses_duplicates=True)
        )

        # Then the second is new
        assert duplicates_of(answer, 2) == [person.id, None]
        assert int(other.client().xlen(STREAM)) == 1


def test_a_queue_that_moves_hands_its_first_leads_on(backend: Backend):
    with RedisServer() as other:
        settings = backend.with_settings(
            duplicate_days=DAYS, queue_next_url=other.url, queue_next_shards=1, dead_letter_max_share=1.0
        )
        shards = blocking_shards(settings, timeout=10)
        move = Moving(shards[:1], shards[1:], settings)

        # Given a person in the queue, which begins to move
        person, new = a_lead(), a_lead()
        assert route(settings, sent(person))[0].verdict is Verdict.APPENDED
        fence(backend, move)

        # When the person comes again, more than once, and a new one does
        later = [again(person), again(new), again(person), again(new)]
        answers = route(settings, *(sent(each) for each in later))

        # Then both queues' first leads are known, though nothing is stored yet
        assert [duplicates_of(each, 1)[0] for each in answers] == [person.id, None, person.id, later[1].id]
        assert int(other.client().xlen(STREAM)) == 4
        store(settings)
        assert rows(backend) == {
            person.id: None,
            later[0].id: person.id,
            later[1].id: None,
            later[2].id: person.id,
            later[3].id: later[1].id,
        }
        assert int(other.client().xlen(DEAD)) == 0
        known = contacts_in_database(backend)
        assert known[person.contacts[:10]] == person.id
        assert known[new.contacts[10:]] == later[1].id
