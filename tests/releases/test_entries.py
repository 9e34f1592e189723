"""Entries and dead letters of one release, in the hands of the other."""

from pathlib import Path

import pytest

from tests.kit.databases import DatabaseServer
from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.releases.processes import Installation
from tests.releases.trickle import Trickle, ids_of

LEADS = 100


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database_server", ["mysql"], indirect=True)
@pytest.mark.parametrize("storing", ["last", "new"])
def test_a_worker_stores_what_both_releases_accepted(
    installation: Installation, database_server: DatabaseServer, storing: str
):
    releases: dict[str, Path] = {"last": installation.last, "new": installation.new}
    other = installation.commands(releases["new" if storing == "last" else "last"])
    commands = installation.commands(installation.new)
    commands.must("schema", "migrate", "--before")

    # Given leads of both APIs, that wait; the database refuses two of them
    database = installation.url.rpartition("/")[2]
    database_server.execute(
        f"CREATE TRIGGER {database}.refusal BEFORE INSERT ON {database}.leads FOR EACH ROW "
        "IF NEW.first_name = 'Refused' THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    apis = [installation.api(root).start() for root in releases.values()]
    with Trickle(*apis) as trickle:
        trickle.goes_on(LEADS)
    refused = [ids_of(api.post("/api/leads", a_lead(firstName="Refused")))[0] for api in apis]

    # When a worker of one release stores them, then the others become dead letters that both can read
    installation.worker(releases[storing]).start()
    until(lambda: {api.ledger()["waiting"] for api in apis} == {0}, 20)
    for part in (commands, other):
        assert all(each in part.must("workers", "dead-letters", "list") for each in refused)

    # And what the other release puts back is stored
    database_server.execute(f"DROP TRIGGER {database}.refusal")
    assert other.must("workers", "dead-letters", "replay", "--all") == "2 back in the queue.\n"
    apis[0].wait_until_stored(*refused)

    # Then both find each lead once, and its key is known to both
    expected = sorted(trickle.accepted + refused)
    for api in apis if storing == "last" else apis[1:]:
        assert sorted(each["id"] for each in api.walk()) == expected
        assert api.page(limit=1)["pagination"]["total"] == len(expected)
    for api in apis:
        assert all(request.send_again(api) == request.ids for request in trickle.keyed)
    assert commands.balance().startswith("Balanced")
    assert commands.must("schema", "counts") == "The counts equal the rows.\n"
