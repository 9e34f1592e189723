"""workers.store.backoff: the wait for a database that is away grows, has an end, and is spread."""

from workers.store.backoff import FIRST, LONGEST, Patience


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_at_first_there_is_nothing_to_wait_for():
    assert Patience(Clock()).is_over()


def test_after_a_failure_it_waits_as_long_as_it_said():
    clock = Clock()
    patience = Patience(clock, lambda: 0.5)

    wait = patience.failed()

    assert not patience.is_over()
    clock.now += wait - 0.001
    assert not patience.is_over()
    clock.now += 0.002
    assert patience.is_over()


def test_the_wait_doubles_up_to_the_longest():
    patience = Patience(Clock(), lambda: 1.0)

    waits = [patience.failed() for _ in range(100)]

    assert waits[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST


def test_the_wait_is_spread_over_half_of_its_span():
    assert Patience(Clock(), lambda: 0.0).failed() == FIRST / 2
    assert Patience(Clock(), lambda: 1.0).failed() == FIRST
    assert len({Patience(Clock()).failed() for _ in range(10)}) > 1


def test_a_success_begins_anew():
    patience = Patience(Clock(), lambda: 1.0)
    for _ in range(5):
        patience.failed()

    patience.succeeded()

    assert patience.is_over()
    assert patience.failed() == FIRST
