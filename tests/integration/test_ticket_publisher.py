"""ingest_api.intake.tickets: a ticket for each batch, soon, and nobody waits for the broker."""

import json
import time
from collections.abc import Iterator

import pytest

from ingest_api.intake import tickets as tickets_module
from ingest_api.intake.tickets import PARTIAL_TICKET_DELAY, TicketPublisher
from schema.queue.keys import TICKETS
from schema.queue.tickets import BROKER_TIMEOUT, STORE_LEADS, tickets_missing
from tests.integration.backends import Backend
from tests.kit.servers import until

BATCH = 10


@pytest.fixture
def publisher(backend: Backend) -> Iterator[TicketPublisher]:
    publisher = TicketPublisher(backend.with_settings(batch_size=BATCH))
    publisher.start()
    yield publisher
    publisher.stop(30)


def tickets(backend: Backend) -> int:
    return int(backend.client.llen(TICKETS))


def test_a_lone_lead_has_its_ticket_after_a_moment(backend: Backend, publisher: TicketPublisher):
    started = time.monotonic()

    publisher.on_flush(1, waiting=1, tickets=0)

    until(lambda: tickets(backend))
    assert time.monotonic() - started >= PARTIAL_TICKET_DELAY * 0.9
    message = json.loads(backend.client.lindex(TICKETS, 0))
    assert message["headers"]["task"] == STORE_LEADS


def test_a_ticket_holds_nothing_but_the_tasks_name(backend: Backend, publisher: TicketPublisher):
    publisher.on_flush(1, waiting=1, tickets=0)
    until(lambda: tickets(backend))

    message = json.loads(backend.client.lindex(TICKETS, 0))

    assert message["headers"]["argsrepr"] == "()"
    assert message["headers"]["kwargsrepr"] == "{}"


def test_leads_that_come_within_the_moment_share_a_ticket(
    backend: Backend, publisher: TicketPublisher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tickets_module, "PARTIAL_TICKET_DELAY", 3600.0)
    for number in range(1, 6):
        publisher.on_flush(1, waiting=number, tickets=0)
    publisher.stop(30)

    assert tickets(backend) == 1


def test_each_full_batch_has_a_ticket(backend: Backend, publisher: TicketPublisher):
    publisher.on_flush(35, waiting=35, tickets=0)

    # Three at once, and one for the rest after a moment.
    until(lambda: tickets(backend) == 4)


def test_leads_of_many_flushes_add_up_to_batches(
    backend: Backend, publisher: TicketPublisher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tickets_module, "PARTIAL_TICKET_DELAY", 3600.0)
    for number in range(1, 6):
        publisher.on_flush(8, waiting=8 * number, tickets=0)
    publisher.stop(30)

    assert tickets(backend) == 4


def test_at_the_stop_the_rest_of_a_batch_has_a_ticket_too(backend: Backend, publisher: TicketPublisher):
    publisher.on_flush(35, waiting=35, tickets=0)

    publisher.stop(30)

    assert tickets(backend) == 4


def test_a_full_batch_does_not_wait_for_the_debounce(
    backend: Backend, publisher: TicketPublisher, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tickets_module, "PARTIAL_TICKET_DELAY", 3600.0)

    publisher.on_flush(BATCH + 1, waiting=BATCH + 1, tickets=0)

    until(lambda: tickets(backend) == 1)


def test_no_ticket_while_enough_of_them_wait(backend: Backend, publisher: TicketPublisher):
    publisher.on_flush(5, waiting=5, tickets=1)
    publisher.on_flush(10, waiting=15, tickets=2)
    publisher.stop(30)

    assert tickets(backend) == 0


def test_what_is_due_is_published_at_the_stop(backend: Backend, publisher: TicketPublisher):
    publisher.on_flush(1, waiting=1, tickets=0)

    publisher.stop(30)

    assert tickets(backend) == 1


@pytest.mark.destructive("queue")
def test_nobody_waits_for_a_broker_that_hangs(backend: Backend, publisher: TicketPublisher):
    # Given a broker that hangs while a ticket is sent
    publisher.on_flush(BATCH, waiting=BATCH, tickets=0)
    until(lambda: tickets(backend) == 1)
    with backend.queue.hanging():
        # When flushes go on being noted for longer than the debounce
        calls: list[float] = []

        def note() -> bool:
            started = time.monotonic()
            publisher.on_flush(BATCH, waiting=100, tickets=0)
            calls.append(time.monotonic() - started)
            return started > end

        end = time.monotonic() + 3 * PARTIAL_TICKET_DELAY
        until(note)

    # Then no call took long, and tickets go out when the broker is back
    assert max(calls) < BROKER_TIMEOUT / 2
    until(lambda: tickets(backend) > 1)


@pytest.mark.destructive("queue")
def test_a_broker_that_was_away_gets_tickets_again(backend: Backend, publisher: TicketPublisher):
    publisher.on_flush(BATCH, waiting=BATCH, tickets=0)
    until(lambda: tickets(backend) == 1)
    backend.queue.kill()
    publisher.on_flush(BATCH, waiting=BATCH, tickets=0)
    backend.queue.start()

    def sent() -> bool:
        publisher.on_flush(BATCH, waiting=100, tickets=0)
        return tickets(backend) > 1

    until(sent, every=0.05)


@pytest.mark.parametrize(
    ("waiting", "there", "missing"), [(0, 0, 0), (1, 0, 1), (10, 0, 1), (11, 0, 2), (11, 1, 1), (11, 5, 0), (0, 3, 0)]
)
def test_a_ticket_that_waits_speaks_of_a_whole_batch(waiting: int, there: int, missing: int):
    assert tickets_missing(waiting, there, BATCH) == missing
