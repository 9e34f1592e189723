"""Ten thousand leads from 32 connections."""

import pytest

from tests.kit import load
from tests.kit.servers import until
from tests.kit.service import Service


@pytest.mark.parametrize(("backend", "many"), [("embedded", 10_000), ("on_mysql", 10_000), ("on_mariadb", 5_000)])
def test_each_of_many_leads_is_accepted_and_stored_once(backend: str, many: int, request: pytest.FixtureRequest):
    service: Service = request.getfixturevalue(backend)
    until(lambda: (now := service.get("/api/leads/stats").json()["data"])["stored"] == now["accepted"])
    before = service.page()["pagination"]["total"]

    ledger = load.send(service, many, phone="+4410000")

    assert (ledger.strange, ledger.refused, ledger.broken) == ([], 0, 0)
    assert len(set(ledger.ids)) == len(ledger.ids) == many
    until(lambda: service.page()["pagination"]["total"] == before + many, 60, 0.1)
    found = [each["id"] for each in service.walk(phone="+4410000")]
    assert len(found) == many
    assert set(found) == set(ledger.ids)
