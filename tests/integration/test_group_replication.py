"""MySQL Group Replication behind MySQL Router: the primary changes while leads are stored, and each is stored once."""

import time
from collections.abc import Callable

import pytest

from tests.integration.backends import Backend
from tests.integration.flows import Flow, assert_each_stored_once
from tests.integration.workers import Worker
from tests.kit.group_replication import GroupReplication
from tests.kit.members import Member
from tests.kit.servers import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.extended]

# Longest times (seconds): until rows come again, from the moment when there is another primary; and until nobody is
# connected to one that was demoted.
ROWS_AGAIN = 30.0
LEFT = 5.0

Record = Callable[[str, object], None]


def kill(group: GroupReplication, primary: Member) -> None:
    primary.kill()


def hang(group: GroupReplication, primary: Member) -> None:
    primary.hang()


def demote(group: GroupReplication, primary: Member) -> None:
    group.make_primary(next(each for each in group.members if each is not primary))


@pytest.fixture(autouse=True)
def _mended(group: GroupReplication) -> None:
    group.mend()


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(kill, id="killed"),
        pytest.param(hang, id="hung", marks=pytest.mark.extended),
        pytest.param(demote, id="demoted", marks=pytest.mark.extended),
    ],
)
def test_each_lead_is_stored_once_when_the_primary_changes(
    group: GroupReplication, grouped: Backend, trouble: Callable[..., None], record_property: Record
):
    # Given leads that are stored through the Router all the time
    first = group.primary
    workers = [Worker(grouped) for _ in range(2)]
    with Flow(grouped, *workers) as flow:
        flow.wait_for_rows()

        # When there is another primary
        begun = time.monotonic()
        trouble(group, first)
        group.wait_for_another(first)
        record_property("seconds without a primary", time.monotonic() - begun)

        # Then rows come again, and nobody stays with the former one
        seconds = flow.wait_for_rows()
        record_property("seconds until rows come again", seconds)
        assert seconds < ROWS_AGAIN
        if trouble is demote:
            until(lambda: connections_to(first) == 0, 30)
            left = time.monotonic() - begun
            record_property("seconds with the former primary", left)
            assert left < LEFT
        record_property("errors that workers met", sorted({str(each) for one in workers for each in one.errors}))
        if trouble is kill:
            first.start()
        elif trouble is hang:
            first.resume()

    # And each lead is one row
    assert_each_stored_once(grouped, flow, Worker(grouped))


def sees_no_majority(primary: Member) -> bool:
    states = [each.state for each in primary.sees()]
    return states.count("UNREACHABLE") * 2 > len(states)


def has_given_up(primary: Member) -> bool:
    return bool(primary.ask("SELECT 1 WHERE @@super_read_only"))


@pytest.mark.extended
@pytest.mark.parametrize("moment", [sees_no_majority, has_given_up])
def test_a_primary_without_a_majority_stores_each_lead_once(
    group: GroupReplication, grouped: Backend, moment: Callable[[Member], bool], record_property: Record
):
    # Given a primary that has lost both others while leads are stored
    first = group.primary
    others = [each for each in group.members if each is not first]
    worker = Worker(grouped)
    with Flow(grouped, worker) as flow:
        flow.wait_for_rows()
        for each in others:
            each.hang()
        try:
            # When they come back, before it gives up or after
            until(lambda: moment(first), 60)
        finally:
            begun = time.monotonic()
            for each in others:
                each.resume()

        # Then rows come again, by an operator's hand when each member has left the group because it saw no majority
        until(lambda: group.find_writable() or group.is_dissolved(), 60, 0.1)
        record_property("seconds until the group has decided", time.monotonic() - begun)
        if group.is_dissolved():
            record_property("the group", "was dissolved, and bootstrapped")
            group.bootstrap_again()
        record_property("seconds until rows come again", flow.wait_for_rows())
        record_property("errors that workers met", sorted({str(each) for each in worker.errors}))

    # And each lead is one row, whether the primary committed what it was asked for or not
    assert_each_stored_once(grouped, flow, Worker(grouped))


@pytest.mark.extended
def test_a_group_that_has_lost_all_members_is_bootstrapped_and_stores_each_lead_once(
    group: GroupReplication, grouped: Backend
):
    # Given a group all of whose members are killed while leads are stored
    worker = Worker(grouped)
    with Flow(grouped, worker) as flow:
        flow.wait_for_rows()
        for each in group.members:
            each.kill()

        # When an operator starts it at the member that has most
        group.bootstrap_again()

        # Then rows come again
        flow.wait_for_rows()

    # And each lead is one row
    assert_each_stored_once(grouped, flow, Worker(grouped))


def connections_to(member: Member) -> int:
    """Return the number of connections of the service to a member."""
    asked = "SELECT COUNT(*) FROM performance_schema.processlist WHERE user = %s"
    return int(member.execute(asked, Member.USER)[0][0])
