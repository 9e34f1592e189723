"""ingest_api.auth.local_failures: counts in one process, with the same delays, bounded in size."""

import pytest

from ingest_api.auth import local_failures
from ingest_api.auth.local_failures import LocalFailures, delay_after


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def failures(clock: Clock) -> LocalFailures:
    """Three failures without a delay, which count for 900 seconds."""
    return LocalFailures(3, 900, 900, clock)


def fail(failures: LocalFailures, name: str, times: int) -> None:
    for _ in range(times):
        failures.failed(name)


@pytest.mark.parametrize(
    ("count", "delay"), [(0, 0), (9, 0), (10, 1), (11, 2), (12, 4), (19, 512), (20, 900), (10**6, 900)]
)
def test_the_delay_begins_with_the_last_free_failure_and_doubles(count: int, delay: int):
    assert delay_after(count, 10, 900) == delay


def test_a_name_waits_once_its_free_failures_are_used_up_and_no_other_does(failures: LocalFailures, clock: Clock):
    fail(failures, "ada", 2)
    assert failures.wait("ada") == 0

    failures.failed("ada")

    assert (failures.wait("ada"), failures.wait("bob")) == (1, 0)
    clock.now += 1
    assert failures.wait("ada") == 0
    failures.failed("ada")
    assert failures.wait("ada") == 2


def test_failures_are_forgotten_after_a_success_or_their_time(failures: LocalFailures, clock: Clock):
    fail(failures, "ada", 2)
    failures.succeeded("ada at home", "ada")
    fail(failures, "ada", 2)
    assert failures.wait("ada") == 0

    clock.now += 901
    fail(failures, "ada", 2)

    assert failures.wait("ada") == 0


def test_it_remembers_who_logged_in(failures: LocalFailures):
    failures.succeeded("ada at home", "ada")

    assert failures.is_known("ada at home")
    assert not failures.is_known("ada elsewhere")


def test_it_does_not_grow_without_end(failures: LocalFailures, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local_failures, "NAMES_MAX", 5)

    for number in range(20):
        fail(failures, f"name{number}", 3)
        failures.succeeded(f"client{number}", "nobody")

    assert len(failures._counts) == len(failures._known) == 5
    assert failures.wait("name19") == 1
    assert failures.is_known("client19")
