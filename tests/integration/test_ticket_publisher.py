"""ingest_api.intake.tickets: a ticket for each batch, soon, and nobody waits for the broker."""

import json
import time
from collections.abc import Iterator

import pytest

from ingest_api.intake.tickets import LINGER, TicketPublisher
from schema.queue.tickets import LINGERED, QUEUE, STORE_LEADS, tickets_missing
from tests.integration.backends import Backend
from tests.kit.servers import until

BATCH = 10


@pytest.fixture
def publisher(backend: Backend) -> Iterator[TicketPublisher]:
    publisher = TicketPublisher(backend.with_settings(batch_size=BATCH))
    publisher.start()
    yield publisher
    publisher.stop(5)


def tickets(backend: Backend) -> int:
    return int(backend.client.llen(QUEUE))


def test_a_lone_lead_has_its_ticket_after_a_moment(backend: Backend, publisher: TicketPublisher):
    started = time.monotonic()

    publisher.appended(1, waiting=1, tickets=0)

    until(lambda: tickets(backend))
    assert time.monotonic() - started >= LINGER * 0.9
    message = json.loads(backend.client.lindex(QUEUE, 0))
    assert message["headers"]["task"] == STORE_LEADS


def test_a_ticket_holds_nothing_but_the_tasks_name(backend: Backend, publisher: TicketPublisher):
    publisher.appended(1, waiting=1, tickets=0)
    until(lambda: tickets(backend))

    message = json.loads(backend.client.lindex(QUEUE, 0))

    assert message["headers"]["argsrepr"] == "()"
    assert message["headers"]["kwargsrepr"] == "{}"


def test_leads_that_come_within_the_moment_share_a_ticket(backend: Backend, publisher: TicketPublisher):
    for number in range(1, 6):
        publisher.appended(1, waiting=number, tickets=0)
    publisher.stop(5)

    assert tickets(backend) == 1


def test_processes_share_the_tickets_that_linger(backend: Backend):
    # Given three processes that append in turn for more than a second
    publishers = [TicketPublisher(backend.with_settings(batch_size=1000)) for _ in range(3)]
    for each in publishers:
        each.start()
    started = time.monotonic()
    while time.monotonic() - started < 12 * LINGER:
        for each in publishers:
            each.appended(1, waiting=1, tickets=0)
        time.sleep(0.005)
    took = time.monotonic() - started

    # Then there was one ticket a moment, and not one a moment from each
    published = tickets(backend)
    for each in publishers:
        each.stop(5)
    assert 2 <= published <= took / LINGER + 1


def test_a_lead_behind_another_processes_ticket_has_one_too(backend: Backend, publisher: TicketPublisher):
    # Given a ticket that another process has just sent
    backend.client.set(LINGERED, b"", px=300)
    publisher.appended(1, waiting=1, tickets=0)

    until(lambda: tickets(backend) == 1)


def test_each_full_batch_has_a_ticket(backend: Backend, publisher: TicketPublisher):
    publisher.appended(35, waiting=35, tickets=0)

    # Three at once, and one for the rest after a moment.
    until(lambda: tickets(backend) == 4)


def test_at_the_stop_the_rest_of_a_batch_has_a_ticket_too(backend: Backend, publisher: TicketPublisher):
    publisher.appended(35, waiting=35, tickets=0)

    publisher.stop(5)

    assert tickets(backend) == 4


def test_a_full_batch_does_not_wait_for_the_moment_to_end(backend: Backend, publisher: TicketPublisher):
    # Given a publisher that is connected already
    publisher.appended(BATCH, waiting=BATCH, tickets=0)
    until(lambda: tickets(backend) == 1)

    started = time.monotonic()
    publisher.appended(BATCH, waiting=2 * BATCH, tickets=0)
    until(lambda: tickets(backend) == 2, every=0.001)

    assert time.monotonic() - started < LINGER


def test_no_ticket_while_enough_of_them_wait(backend: Backend, publisher: TicketPublisher):
    publisher.appended(5, waiting=5, tickets=1)
    publisher.appended(10, waiting=15, tickets=2)
    publisher.stop(5)

    assert tickets(backend) == 0


def test_what_is_owed_is_published_at_the_stop(backend: Backend, publisher: TicketPublisher):
    publisher.appended(1, waiting=1, tickets=0)

    publisher.stop(5)

    assert tickets(backend) == 1


def test_nobody_waits_for_a_broker_that_hangs(backend: Backend, publisher: TicketPublisher):
    # Given a broker that hangs while a ticket is sent
    publisher.appended(BATCH, waiting=BATCH, tickets=0)
    until(lambda: tickets(backend) == 1)
    with backend.queue.hanging():
        # When flushes go on being noted for longer than a ticket lingers
        calls: list[float] = []

        def note() -> bool:
            started = time.monotonic()
            publisher.appended(BATCH, waiting=100, tickets=0)
            calls.append(time.monotonic() - started)
            return started > end

        end = time.monotonic() + 3 * LINGER
        until(note)

    # Then no call took long, and tickets go out when the broker is back
    assert max(calls) < 0.1
    until(lambda: tickets(backend) > 1)


def test_a_broker_that_was_away_gets_tickets_again(backend: Backend, publisher: TicketPublisher):
    publisher.appended(BATCH, waiting=BATCH, tickets=0)
    until(lambda: tickets(backend) == 1)
    backend.queue.kill()
    publisher.appended(BATCH, waiting=BATCH, tickets=0)
    backend.queue.start()

    def sent() -> bool:
        publisher.appended(BATCH, waiting=100, tickets=0)
        return tickets(backend) > 1

    until(sent, every=0.05)


@pytest.mark.parametrize(
    ("waiting", "there", "missing"), [(0, 0, 0), (1, 0, 1), (10, 0, 1), (11, 0, 2), (11, 1, 1), (11, 5, 0), (0, 3, 0)]
)
def test_a_ticket_that_waits_speaks_of_a_whole_batch(waiting: int, there: int, missing: int):
    assert tickets_missing(waiting, there, BATCH) == missing
