"""The service in a Swarm whose Redis and MySQL are outside and replicated: any host may be lost."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kit.accounts import SECRETS, grant, make_mysql_accounts, make_redis_users
from tests.kit.group_replication import GroupReplication
from tests.kit.sentinels import SentinelSet
from tests.kit.servers import Place, until
from tests.kit.swarm import OUTSIDE, Swarm

from .deployment import SERVERS, WHOLE_DEADLINE, Deployment

pytestmark = pytest.mark.timeout(3000)

# Of Redis's `default`, which replicas and Sentinels log in as.
PASSWORD = "the-one-of-default"


@pytest.fixture
def queue(swarm: Swarm) -> Iterator[SentinelSet]:
    """A Redis and a Sentinel on each host; the primary is on the first."""
    with SentinelSet([each.place for each in swarm.engines], password=PASSWORD) as queue:
        yield queue


@pytest.fixture
def database(swarm: Swarm) -> Iterator[GroupReplication]:
    """A member of the group on each host, the primary on the first; Router is on a host of its own."""
    with GroupReplication([each.place for each in swarm.engines], routers=[Place(OUTSIDE)]) as database:
        yield database


@pytest.fixture
def deployment(swarm: Swarm, queue: SentinelSet, database: GroupReplication, tmp_path: Path) -> Iterator[Deployment]:
    """The service, deployed as docs/swarm.md says for servers of one's own."""
    deployment = Deployment(
        tmp_path / "lead-ingest",
        swarm,
        project="lead-outside",
        port=8081,
        LEADS_SUBNET="172.31.96.0/24",
        LEADS_REDIS_REPLICAS="1",
        STACK_REDIS=queue.url,
        STACK_MYSQL=database.routers[0].address,
    )
    deployment.clone()
    (deployment.directory / "compose" / "stack.yml").write_text("networks: {back: {internal: false}}\n")
    with ExitStack() as stack:
        stack.callback(deployment.forget_images)
        deployment.build()
        passwords = {name: deployment.value(name) for name in SECRETS}
        for server in queue.servers:
            make_redis_users(server.client(), passwords)
        database.primary.execute("CREATE DATABASE leads CHARACTER SET utf8mb4")
        make_mysql_accounts(database.primary, passwords)
        stack.callback(deployment.remove)
        deployment.deploy(f"HOSTS={' '.join(each.name for each in swarm.engines)}")
        grant(database.primary)
        yield deployment


def test_the_host_that_has_both_primaries_may_be_lost(
    deployment: Deployment, queue: SentinelSet, database: GroupReplication, tmp_path: Path
):
    lost, *others = deployment.swarm.engines
    left = [each.name for each in others]
    # For the commands that count rows.
    for engine in others:
        engine.copy(SERVERS[0])
    made = [deployment.accept(url) for url in deployment.urls]
    until(lambda: set(made) <= deployment.rows("SELECT BIN_TO_UUID(id) FROM leads"), 60, 1)
    services = lost.docker("service", "ls", "--format", "{{.Name}}").split()
    assert not {f"lead-outside_{each}" for each in ("mysql", "redis", "accounts")} & set(services)
    assert queue.primary.place == database.primary.place == lost.place

    with deployment.load(tmp_path / "clients") as clients:
        lost.cut()
        until(lambda: deployment.is_whole(left), WHOLE_DEADLINE, 2)
        # Without the lost host, each of the others takes leads, and they become rows.
        made = [deployment.accept(url) for url in deployment.urls[1:]]
        until(lambda: set(made) <= deployment.rows("SELECT BIN_TO_UUID(id) FROM leads"), 60, 1)
        lost.join()
        every = [each.name for each in deployment.swarm.engines]
        until(lambda: deployment.is_whole(every) and deployment.has_proxies(3), WHOLE_DEADLINE, 2)

    deployment.assert_each_is_one_row(clients)
    for url in deployment.urls:
        until(lambda url=url: deployment.takes_leads(url), 60, 1)
