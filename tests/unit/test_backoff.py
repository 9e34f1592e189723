"""workers.store.backoff: the wait for a database that is away grows, has an end, and is spread."""

from schema.settings import Settings
from workers.store.backoff import FIRST_SPAN, LONGEST_SPAN, Backoff


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_at_first_there_is_nothing_to_wait_for():
    assert Backoff(Clock()).ready()


def test_after_a_failure_it_waits_as_long_as_it_said():
    clock = Clock()
    backoff = Backoff(clock, lambda: 0.5)

    wait = backoff.record_failure()

    assert not backoff.ready()
    clock.now += wait - 0.001
    assert not backoff.ready()
    clock.now += 0.002
    assert backoff.ready()


def test_the_wait_doubles_up_to_the_longest():
    backoff = Backoff(Clock(), lambda: 1.0)

    waits = [backoff.record_failure() for _ in range(100)]

    assert waits[:4] == [FIRST_SPAN, 2 * FIRST_SPAN, 4 * FIRST_SPAN, 8 * FIRST_SPAN]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_SPAN


def test_the_wait_is_spread_over_half_of_its_span():
    assert Backoff(Clock(), lambda: 0.0).record_failure() == FIRST_SPAN / 2
    assert Backoff(Clock(), lambda: 1.0).record_failure() == FIRST_SPAN
    assert len({Backoff(Clock()).record_failure() for _ in range(10)}) > 1


def test_a_success_begins_anew():
    backoff = Backoff(Clock(), lambda: 1.0)
    for _ in range(5):
        backoff.record_failure()

    backoff.reset()

    assert backoff.ready()
    assert backoff.record_failure() == FIRST_SPAN


def test_a_server_that_is_back_is_found_within_half_a_minute():
    # One try is on its way when it comes back, and the wait after that one.
    assert Settings().database_timeout + LONGEST_SPAN < 30
