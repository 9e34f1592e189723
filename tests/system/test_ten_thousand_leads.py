"""Ten thousand leads from 32 connections."""

from tests.kit import load
from tests.kit.servers import until
from tests.kit.service import Service

MANY = 10_000


def test_each_of_many_leads_is_accepted_and_stored_once(service: Service):
    until(lambda: (now := service.get("/api/leads/stats").json()["data"])["stored"] == now["accepted"])
    before = service.page()["pagination"]["total"]

    ledger = load.send(service, MANY, phone="+4410000")

    assert (ledger.strange, ledger.refused, ledger.broken) == ([], 0, 0)
    assert len(set(ledger.ids)) == len(ledger.ids) == MANY
    until(lambda: service.page()["pagination"]["total"] == before + MANY, 60, 0.1)
    found = [each["id"] for each in service.walk(phone="+4410000")]
    assert len(found) == MANY
    assert set(found) == set(ledger.ids)
