"""The alert of a replica that falls behind, of which the stack has none: with a real one, outside Docker."""

from pathlib import Path

import pytest

from tests.kit.databases import MySQLServer
from tests.kit.leads import a_lead
from tests.kit.servers import PrometheusServer, RedisServer, until
from tests.kit.service import Service

pytestmark = pytest.mark.timeout(600)

# Seconds for the alert: ten behind, and so for a minute.
FIRE_DEADLINE = 240.0
CLEAR_DEADLINE = 60.0

FIRES = 'ALERTS{alertname="LeadsReplicaLagHigh", alertstate="firing"}'


def test_a_replica_that_falls_behind(tmp_path: Path):
    with (
        MySQLServer(*MySQLServer.primary_options) as primary,
        MySQLServer(*MySQLServer.replica_options) as replica,
        RedisServer() as queue,
    ):
        replica.follow(primary)
        url = primary.create_database()
        replica.execute(f"GRANT ALL ON {url.rpartition('/')[2]}.* TO {replica.USER}@'127.0.0.1'")
        read_url = url.replace(f":{primary.port}/", f":{replica.port}/")
        # Given a replica that is read
        with (
            Service(tmp_path, redis_url=queue.url, database_url=url, database_read_url=read_url) as service,
            PrometheusServer({"leads-api": f"127.0.0.1:{service.port}"}) as prometheus,
        ):
            service.wait_until_stored(*service.accept(a_lead()), within=30)
            until(lambda: prometheus.query("leads_replica_lag_seconds < 1"), 30, 0.2)
            assert not prometheus.query(FIRES)

            # When it follows no more, and a lead is stored
            replica.stop_applying()
            (missing,) = service.accept(a_lead())
            service.wait_until_stored(missing, within=30)

            # Then the alert fires, and lists have the lead all the same
            until(lambda: prometheus.query(FIRES), FIRE_DEADLINE, 0.5)
            assert missing in [item["id"] for item in service.get("/api/leads").json()["data"]["items"]]

            # And clears when it has caught up
            replica.go_on_applying()
            until(lambda: not prometheus.query(FIRES), CLEAR_DEADLINE, 0.5)
            until(lambda: prometheus.query("leads_replica_lag_seconds < 1"), CLEAR_DEADLINE, 0.5)
