"""Redis loses all its data: keys of stored leads are still known, and the loss can be seen."""

from pathlib import Path

import pytest

from tests.kit.databases import DatabaseServer
from tests.kit.leads import a_lead
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service


@pytest.mark.slow
def test_a_key_outlives_the_loss_of_redis_and_the_lost_leads_are_counted(
    tmp_path: Path, database_server: DatabaseServer
):
    url = database_server.create_database()
    database = url.rpartition("/")[2]

    def copied() -> int:
        counts = f"SELECT COALESCE(SUM(accepted), 0) FROM {database}.accepted_counts WHERE width = 86400"
        return int(database_server.execute(counts)[0][0])

    with RedisServer() as redis_server, Service(tmp_path, redis_url=redis_server.url, database_url=url) as service:
        # Given a stored lead with a key, and one that the database does not take for the time being
        database_server.execute(
            f"CREATE TRIGGER {database}.stuck BEFORE INSERT ON {database}.leads FOR EACH ROW "
            "IF NEW.first_name = 'Stuck' THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1105; END IF"
        )
        service.wait_until_stored(*service.accept(a_lead()))
        # Redis is known to be the first there was: until then a key is looked up in the database anyway.
        until(lambda: redis_server.client().hget("leads:accepted", "first") == b"1")
        lead = a_lead()
        first = service.post("/api/leads", lead, Idempotency_Key="kept").json()["data"]["id"]
        service.wait_until_stored(first)
        batch = [a_lead(), a_lead()]
        together = [
            each["id"]
            for each in service.post("/api/leads/bulk", batch, Idempotency_Key="both").json()["data"]["results"]
        ]
        service.wait_until_stored(*together)
        stuck = service.accept(a_lead(firstName="Stuck"))[0]
        # And a sweep has copied what was accepted
        until(lambda: copied() == 5)
        assert service.ledger()["imbalance"] == 0

        # When Redis loses everything
        redis_server.client().flushall()
        # And with it what was not stored yet of the bulk
        database_server.execute(f"DELETE FROM {database}.leads WHERE id = UNHEX('{together[1].replace('-', '')}')")

        # Then the key is known, and belongs to its lead and its body
        assert service.post("/api/leads", lead, Idempotency_Key="kept").json()["data"]["id"] == first
        assert service.post("/api/leads", a_lead(), Idempotency_Key="kept").status_code == 409
        again = service.post("/api/leads/bulk", batch, Idempotency_Key="both").json()["data"]["results"]
        assert [each["id"] for each in again] == together
        service.wait_until_stored(*together)
        rows = database_server.execute(f"SELECT COUNT(*) FROM {database}.leads WHERE email = '{batch[1]['email']}'")
        assert rows == ((1,),)
        # And new leads, with a key or without, are accepted and stored
        fresh = service.post("/api/leads", a_lead(), Idempotency_Key="new").json()["data"]["id"]
        service.wait_until_stored(fresh, *service.accept(a_lead()))
        assert service.page(email=lead["email"])["pagination"]["total"] == 1
        # And the one that waited is gone, and the ledger says so
        assert service.get(f"/api/leads/{stuck}").status_code == 404
        assert service.ledger()["imbalance"] == 1
