"""The accounts of the production form on real servers: what each service does works, and nothing beyond it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
import time_machine
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ingest_api.auth import users
from schema.database import engines, partitions
from schema.database.migrations.runner import downgrade, migrate
from schema.ledger import count_rows, read_ledger
from schema.queue import keys
from schema.queue.dead_letters import DeadLetters
from schema.queue.stats import read_queue
from schema.runtime.redis_clients import blocking_redis
from schema.settings import Settings
from tests.integration.backends import POISON, Backend, writer
from tests.integration.workers import Worker
from tests.kit import accounts
from tests.kit.databases import MySQLServer
from tests.kit.servers import RedisServer
from workers.upkeep.maintenance import Maintenance
from workers.upkeep.sweep import Sweep

ACCOUNTS = ("api", "worker", "migrate")

PASSWORD = "a.password-123"
SECRETS = dict.fromkeys(accounts.SECRETS, PASSWORD)

# The errors of MySQL that say: not with these rights.
DENIED = {1044, 1045, 1142, 1143, 1227, 1410, 1419}


@pytest.fixture(scope="module")
def url_of(mysql_server: MySQLServer) -> Iterator[Callable[[str], str]]:
    """Make database and accounts, as `make build` and two starts do; return the URL of an account."""
    mysql_server.execute("CREATE DATABASE leads CHARACTER SET utf8mb4")

    def url_of(account: str) -> str:
        return f"mysql+pymysql://leads_{account}:{PASSWORD}@127.0.0.1:{mysql_server.port}/leads"

    try:
        for _ in range(2):
            accounts.make_mysql_accounts(mysql_server, SECRETS)
            migrate(url_of("migrate"))
            accounts.grant(mysql_server)
        yield url_of
    finally:
        mysql_server.execute("DROP DATABASE leads")
        for account in ACCOUNTS:
            mysql_server.execute(f"DROP USER IF EXISTS leads_{account}")


@pytest.fixture(scope="module")
def queue() -> Iterator[RedisServer]:
    """A Redis with the users of the production form."""
    with RedisServer() as server:
        accounts.make_redis_users(server.client(), SECRETS)
        yield server


@pytest.fixture
def settings_of(
    url_of: Callable[[str], str], queue: RedisServer, tmp_path: Path, mysql_server: MySQLServer
) -> Callable[[str], Settings]:
    """Return a service's settings, with an empty queue and no leads."""
    queue.client().flushall()
    for table in ("leads", "lead_counts", "lead_totals", "dirty_minutes", "accepted_counts", "dropped_leads", "users"):
        mysql_server.execute(f"DELETE FROM leads.{table}")

    def settings_of(name: str) -> Settings:
        return Settings(
            data_dir=tmp_path,
            redis_url=f"redis://{name}:{PASSWORD}@127.0.0.1:{queue.port}/0",
            redis_timeout=10.0,
            database_url=url_of(name),
            database_timeout=20,
            rate_limit=0,
            claim_after=0.2,
            retention_months=1,
        )

    return settings_of


def backend_of(settings: Settings, queue: RedisServer, server: MySQLServer) -> Backend:
    """Return the backend as a service sees it."""
    client = blocking_redis(settings.shards[0], timeout=10)
    return Backend("mysql", settings, queue, server, client, writer(settings))


def is_denied(engine: Engine, statement: str) -> bool:
    """Tell whether the database refuses a statement for want of rights."""
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    except DBAPIError as error:
        return getattr(error.orig, "args", [0])[0] in DENIED
    return False


def test_leads_go_in_and_out_under_the_accounts_of_the_services(
    settings_of: Callable[[str], Settings], queue: RedisServer, mysql_server: MySQLServer
):
    # Given leads that the API has accepted, one of which cannot be stored
    api = backend_of(settings_of("api"), queue, mysql_server)
    worker = backend_of(settings_of("worker"), queue, mysql_server)
    accepted = set(api.accept(30))
    worker.refuse()
    try:
        api.accept(1, firstName=POISON)

        # When a worker stores them, and looks after what it must
        storing = Worker(worker, deliveries_alone=1, deliveries_max=2, dead_letter_max_in_a_row=0)
        for _ in range(20):
            storing.run()
            if not worker.waiting():
                break
    finally:
        mysql_server.execute("DROP TRIGGER leads.refusal")
    assert Sweep(worker.shards, worker.engine, worker.settings).run() == {"keys": 0, "consumers": 0}

    # Then the API lists them, and sees the balance
    assert api.stored() == accepted
    assert len(api.dead()) == 1
    with api.engine.connect() as connection:
        ledger = read_ledger(connection, api.shards)
        assert (ledger.accepted, ledger.stored, ledger.dead, ledger.imbalance) == (31, 30, 1, 0)
        assert count_rows(connection) == 30
    assert read_queue(api.shards, api.client)["dead"] == 1

    # And the dead letter is put back, and stored
    (letter,) = DeadLetters(api.shards)
    assert DeadLetters(api.shards).replay(letter)
    storing.run()
    assert len(api.stored()) == 31


def test_months_come_and_go_under_the_account_of_the_workers(
    settings_of: Callable[[str], Settings], queue: RedisServer, mysql_server: MySQLServer
):
    worker = backend_of(settings_of("worker"), queue, mysql_server)
    worker.accept(5)
    Worker(worker).run()
    with worker.engine.connect() as connection:
        before = partitions.existing(connection)

    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1), tick=True):
        assert Maintenance(worker.engine, worker.settings).run()["minutes"] > 0
    with time_machine.travel(datetime.now(UTC) + timedelta(days=150), tick=True):
        done = Maintenance(worker.engine, worker.settings).run()

    assert done["months"] in (4, 5)
    assert done["expired"] == 5
    assert worker.stored() == set()
    with worker.engine.connect() as connection:
        assert before[0] not in partitions.existing(connection)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users (email, password_hash, roles, disabled, created_at, updated_at) "
        "VALUES ('a@b.c', '', 'admin', 0, NOW(), NOW())",
        "INSERT INTO dropped_leads VALUES (x'00', NOW())",
        "UPDATE users SET roles = 'admin'",
        "UPDATE users SET disabled = 0",
        "UPDATE leads SET email = ''",
        "DELETE FROM leads",
        "DELETE FROM users",
        "DROP TABLE leads",
        "TRUNCATE TABLE leads",
        "ALTER TABLE users ADD COLUMN x INT",
        "CREATE TABLE x (id INT)",
        "CREATE USER other",
        "GRANT ALL ON leads.* TO leads_api",
        "SELECT * FROM mysql.user",
        "SET GLOBAL max_connections = 1",
        "SHUTDOWN",
    ],
)
def test_the_api_changes_nothing(settings_of: Callable[[str], Settings], statement: str):
    assert is_denied(writer(settings_of("api")), statement)


def test_the_api_may_write_a_password_hash_anew(settings_of: Callable[[str], Settings]):
    with writer(settings_of("migrate")).begin() as connection:
        users.create(connection, "ann@example.com", "correct horse battery staple", ["read"])

    with writer(settings_of("api")).begin() as connection:
        changed = connection.execute(text("UPDATE users SET password_hash = 'x', updated_at = NOW() WHERE id > 0"))

    assert changed.rowcount == 1


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM users",
        "UPDATE users SET roles = 'admin'",
        "INSERT INTO alembic_version VALUES ('0')",
        "DROP TABLE users",
        "DROP TABLE lead_counts",
        "ALTER TABLE lead_totals ADD COLUMN x INT",
        "CREATE TABLE x (id INT)",
        "CREATE TRIGGER x BEFORE INSERT ON leads FOR EACH ROW SET NEW.email = ''",
        "GRANT SELECT ON leads.leads TO leads_api",
        "CREATE USER other",
        "SELECT * FROM leads INTO OUTFILE '/tmp/leads'",
        "SHUTDOWN",
    ],
)
def test_a_worker_has_no_users_and_changes_no_other_table(settings_of: Callable[[str], Settings], statement: str):
    assert is_denied(writer(settings_of("worker")), statement)


def test_the_tables_are_taken_back_and_forth_under_the_account_of_migrations(
    url_of: Callable[[str], str], settings_of: Callable[[str], Settings], mysql_server: MySQLServer
):
    downgrade(url_of("migrate"), "0004")
    migrate(url_of("migrate"), before=True)
    accounts.grant(mysql_server)
    migrate(url_of("migrate"))

    assert not is_denied(engines.reader(url_of("api"), timeout=20, pool_size=1), "SELECT * FROM lead_totals")
    for statement in ("SELECT * FROM mysql.user", "CREATE DATABASE x", "CREATE USER x", "SET SESSION sql_log_bin = 0"):
        assert is_denied(writer(settings_of("migrate")), statement)


@pytest.mark.parametrize("user", ["api", "worker", "flower", "migrate"])
@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "CONFIG SET maxmemory 0",
        "CONFIG REWRITE",
        "SHUTDOWN",
        "ACL LIST",
        "ACL SETUSER x on",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "MONITOR",
        "SAVE",
        "REPLICAOF NO ONE",
        "SCRIPT FLUSH",
        "FUNCTION FLUSH",
        "MODULE LIST",
        "GET other",
        "SET other x",
        "PUBLISH other x",
        "SUBSCRIBE other",
    ],
)
def test_no_user_of_redis_may_empty_or_change_it(queue: RedisServer, user: str, command: str):
    client = redis.Redis(port=queue.port, username=user, password=PASSWORD)

    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


@pytest.mark.parametrize(
    "command",
    [
        f"XRANGE {keys.STREAM} - +",
        f"XLEN {keys.DEAD}",
        f"DEL {keys.STREAM}",
        f"LRANGE {keys.REQUESTS} 0 -1",
        f"LPUSH {keys.TICKETS} x",
        f"DEL {keys.TICKETS}",
        f"HGET {keys.INDEX} x",
        "CONFIG GET *",
        "INFO",
        "SCAN 0",
    ],
)
def test_flower_reads_no_lead_and_sends_no_task(queue: RedisServer, command: str):
    client = redis.Redis(port=queue.port, username="flower", password=PASSWORD)

    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())
    assert client.llen(keys.TICKETS) == 0
