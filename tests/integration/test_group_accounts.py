"""The accounts of the production form in a group of MySQL servers: made once, they are on every member."""

import pymysql
import pytest

from schema.database.migrations.runner import migrate
from tests.kit import accounts
from tests.kit.group_replication import GroupReplication
from tests.kit.servers import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.extended]

PASSWORD = "a.password-123"


def test_accounts_that_were_made_at_the_primary_work_at_the_next_one(group: GroupReplication):
    def url(name: str) -> str:
        return f"mysql+pymysql://leads_{name}:{PASSWORD}@{group.routers[0].address}/leads"

    first = group.primary
    first.execute("CREATE DATABASE leads CHARACTER SET utf8mb4")
    accounts.make_mysql_accounts(first, dict.fromkeys(accounts.SECRETS, PASSWORD))
    migrate(url("migrate"))
    accounts.grant(first)

    first.kill()
    other = group.wait_for_another(first)
    until(lambda: group.routers[0].leads_to(other), 30, 0.1)

    for name, statement in (
        ("api", "SELECT COUNT(*) FROM leads"),
        ("worker", "DELETE FROM lead_counts"),
        ("migrate", "ALTER TABLE leads COMMENT = ''"),
    ):
        address = {"host": group.routers[0].place.address, "port": group.routers[0].port, "database": "leads"}
        with pymysql.connect(user=f"leads_{name}", password=PASSWORD, **address) as connection:
            connection.cursor().execute(statement)
