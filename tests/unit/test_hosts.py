"""What `make chaos-hosts` makes of what it saw, and how its clients go from address to address."""

import pytest

from loadtests.chaos.clients import Addresses, Promise
from loadtests.hosts.faults import Fault
from loadtests.hosts.report import effects, longest_pauses

A, B, C = "http://a", "http://b", "http://c"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("loadtests.chaos.clients.time.monotonic", lambda: now[0])
    return now


def test_a_client_takes_one_address_after_the_other():
    addresses = Addresses([A, B, C])

    assert [addresses.take() for _ in range(4)] == [A, B, C, A]


def test_an_address_that_failed_is_left_out_for_a_while(clock: list[float]):
    addresses = Addresses([A, B, C])
    addresses.leave_out(B)

    assert [addresses.take() for _ in range(4)] == [A, C, A, C]
    clock[0] += 10
    assert sorted(addresses.take() for _ in range(3)) == [A, B, C]


def test_when_all_have_failed_the_first_of_them_is_tried_again(clock: list[float]):
    addresses = Addresses([A, B])
    addresses.leave_out(B)
    clock[0] += 1
    addresses.leave_out(A)

    assert addresses.take() == B


def test_a_pause_is_of_the_fault_that_it_began_with():
    faults = [Fault("lost", "no primary", 10.0), Fault("cut", "no primary", 50.0)]
    promises = [
        Promise(at, f"{number:032x}", f"{number}@example.com", keyed)
        for number, (at, keyed) in enumerate(
            [(9.0, True), (9.5, False), (12.0, False), (16.0, True), (49.0, True), (49.0, False), (52.0, True)]
        )
    ]
    seen = {promise.lead: promise.at + 0.5 for promise in promises} | {promises[3].lead: 20.0}

    first, second = effects(faults, promises, seen)

    assert (first.keyed, first.bare, first.slowest) == (33.0, 37.0, 4.0)
    assert (second.keyed, second.bare, second.slowest) == (3.0, 0.0, 0.5)


def test_a_pause_that_outlasts_the_next_fault_is_still_of_the_one_that_it_began_with():
    assert longest_pauses([64.0, 65.6, 132.0, 132.5], [65.3, 125.2]) == [pytest.approx(66.4), 0.5]
