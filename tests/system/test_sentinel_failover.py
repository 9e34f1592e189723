"""The whole service on Redis under Sentinel: a primary is lost under load, and nobody starts anything by hand."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.kit import load
from tests.kit.leads import a_lead
from tests.kit.sentinels import Replica, SentinelSet
from tests.kit.servers import until
from tests.kit.service import Service

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

LEADS = 1_000

# Longest time (seconds) until a POST is answered with 202 again, on a busy machine.
AGAIN = 30.0


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelSet]:
    with SentinelSet() as made:
        yield made


@pytest.fixture(scope="module")
def failing_over(sentinels: SentinelSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose leads are on two servers before their 202."""
    directory = tmp_path_factory.mktemp("sentinel")
    with Service(directory, redis_url=sentinels.url, redis_replicas=1, claim_after=2, sweep_interval=1) as service:
        yield service


def accepts(service: Service) -> bool:
    try:
        return service.post("/api/leads", a_lead()).status_code == 202
    except httpx.TransportError:
        return False


# How the primary is lost, and how it comes back. A demoted one ends the connections of Celery's workers, which wait
# for tickets there, with an answer that is no answer (UNBLOCKED).
LOSSES: dict[str, tuple[Callable[[SentinelSet, Replica], None], Callable[[Replica], None]]] = {
    "killed": (lambda _, primary: primary.kill(), Replica.start),
    "hung": (lambda _, primary: primary.hang(), Replica.resume),
    "demoted": (lambda sentinels, _: sentinels.demote(), lambda _: None),
}


@pytest.mark.parametrize("loss", ["killed", pytest.param("hung", marks=pytest.mark.extended), "demoted"])
def test_a_lost_primary_costs_some_503_and_no_lead(
    failing_over: Service,
    sentinels: SentinelSet,
    loss: str,
    record_property: Callable[[str, object], None],
):
    # Given load, and the processes that are there
    lose_it, bring_back = LOSSES[loss]
    phone = f"+4450{list(LOSSES).index(loss)}"
    before = {name: failing_over.one(name).pid for name in ("api", "worker", "beat", "flower")}
    lost = sentinels.primary
    went = 0.0

    def lose() -> None:
        nonlocal went
        lose_it(sentinels, lost)
        went = time.monotonic()

    # When the primary is lost in the middle
    ledger = load.send(failing_over, LEADS, halfway=lose, phone=phone, deadline=120.0)
    record_property("seconds without 202 at most", time.monotonic() - went)
    sentinels.wait_for_another(lost)
    until(lambda: accepts(failing_over), AGAIN)

    # Then each accepted lead is stored once, by the same processes
    assert ledger.strange == []
    promised = set(ledger.ids)

    def stored() -> list[str] | None:
        found = [each["id"] for each in failing_over.walk(phone=phone)]
        return found if promised <= set(found) else None

    found = until(stored, 90, 0.2)
    assert len(found) == len(set(found))
    assert {name: failing_over.one(name).pid for name in before} == before

    # And the lost server comes back as a replica
    bring_back(lost)
    until(lambda: sentinels.primary.client().info("replication")["connected_slaves"] == 2, 60, 0.2)
