"""The whole service on MySQL Group Replication behind MySQL Router: members are lost, and 202s go on."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kit import load
from tests.kit.group_replication import GroupReplication
from tests.kit.leads import a_lead
from tests.kit.members import Member
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service
from tests.system.steady import Steady

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.extended]

LEADS = 500

# Longest times (seconds): until rows come again, from the moment when there is another primary; and between two leads
# that are accepted.
ROWS_AGAIN = 30.0
GAP = 5.0

PROCESSES = ("api", "worker", "beat", "flower")

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def group() -> Iterator[GroupReplication]:
    with GroupReplication() as made:
        yield made


@pytest.fixture(scope="module")
def grouped(group: GroupReplication, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that reads lists at the last member while that keeps up."""
    directory = tmp_path_factory.mktemp("group")
    with RedisServer() as queue:
        reads = group.direct_url(group.members[-1])
        settings = {"claim_after": 5, "sweep_interval": 1, "database_read_lag": 1}
        with Service(
            directory, redis_url=queue.url, database_url=group.url, database_read_url=reads, **settings
        ) as service:
            # The first sweep after the first lead tells Redis that it has lost nothing: then no key needs the database.
            service.accept(a_lead())
            service.wait_for_sweeps(2)
            yield service


@pytest.mark.parametrize(
    "trouble",
    [pytest.param(Member.kill, id="killed"), pytest.param(Member.hang, id="hung", marks=pytest.mark.extended)],
)
def test_leads_are_accepted_all_the_time_while_the_primary_is_lost(
    grouped: Service, group: GroupReplication, trouble: Callable[[Member], None], record_property: Record
):
    # Given load, and the processes that are there
    group.mend()
    phone = f"+4460{sum(trouble.__name__.encode())}"
    before = {name: grouped.one(name).pid for name in PROCESSES}
    lost = group.primary
    with Steady(grouped, phone=phone) as steady:
        # When the primary is lost in the middle
        ledger = load.send(grouped, LEADS, halfway=lambda: trouble(lost), phone=phone, deadline=120.0)
        group.wait_for_another(lost)
        begun = time.monotonic()

        # Then rows come again
        newest = steady.ids[-1]
        until(lambda: is_stored(grouped, newest), 90, 0.05)
        seconds = time.monotonic() - begun
    record_property("seconds until rows come again", seconds)
    record_property("longest gap between 202s", steady.gaps)
    assert seconds < ROWS_AGAIN

    # And no lead was refused
    assert (ledger.refused, ledger.broken, ledger.strange) == (0, 0, [])
    assert steady.others == {}
    assert max(steady.gaps.values()) < GAP

    # And each is stored once, by the same processes
    if trouble is Member.hang:
        lost.resume()
    else:
        lost.start()
    grouped.wait_until_nothing_waits(60)
    promised = [*ledger.ids, *steady.ids]
    found = [each["id"] for each in grouped.walk(phone=phone)]
    assert len(found) == len(promised)
    assert set(found) == set(promised)
    assert {name: grouped.one(name).pid for name in before} == before
    assert grouped.ledger()["dead"] == 0
    assert grouped.balance().startswith("Balanced")


def is_stored(service: Service, lead: str) -> bool:
    """Tell whether a lead is a row. While the primary is away its place may be unknown."""
    answer = service.get(f"/api/leads/{lead}")
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200 and answer.json()["data"]["state"] == "stored"


def servers(service: Service) -> dict[str, Any]:
    """Return what the health check says of the database's servers."""
    return dict(service.get("/health/ready").json()["data"]["servers"]["database"])


@pytest.mark.extended
def test_a_lead_is_found_by_its_id_while_the_secondary_that_is_read_is_behind(
    grouped: Service, group: GroupReplication
):
    # Given a secondary that applies nothing more
    group.mend()
    secondary = group.members[-1]
    if group.primary is secondary:
        group.make_primary(group.members[0])
        group.wait_until_whole()
    secondary.stop_applying()
    try:
        # When leads are accepted, then each is found from its 202 on, before it is stored and after
        for _ in range(20):
            (lead,) = grouped.accept(a_lead())
            until(lambda lead=lead: grouped.lead(lead)["state"] == "stored", 30)
            assert grouped.lead(lead)["id"] == lead
        # And lists have it too, as soon as the secondary is known to be behind, which the health check says
        until(lambda: grouped.page()["items"][0]["id"] == lead, 30, 0.1)
        until(lambda: servers(grouped).get("replica_lag_seconds", 0.0) > 1, 30, 0.2)
        assert servers(grouped)["primary"].endswith(f":{group.primary.port}")
    finally:
        secondary.go_on_applying()
