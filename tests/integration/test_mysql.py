"""What MySQL and MariaDB each ask of a client: words, passwords, TLS, modes, and a server that has become read-only."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from schema.database import engines, idempotency
from schema.database.engines import Product, product_of
from schema.database.idempotency import Remembered
from schema.database.migrations.runner import migrate
from tests.integration.backends import Backend, fields_of, servers_only, writer
from tests.integration.spoken import Listener, names_in, reserved
from tests.integration.workers import Worker
from tests.kit.databases import DatabaseServer, MySQLServer
from workers.upkeep.sweep import Sweep


def test_a_bare_reserved_word_is_noticed(mysql_server: MySQLServer):
    bare = names_in("INSERT INTO lead_counts (width, stored) VALUES (%s, 'rank') ON DUPLICATE KEY UPDATE x = `groups`")

    assert bare == {"lead_counts", "width", "stored", "x"}
    assert reserved(mysql_server, bare) == {"stored"}


def test_a_deprecated_form_is_noticed(mysql_server: MySQLServer, listener: Listener):
    engine = create_engine(mysql_server.create_database(), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (id INT PRIMARY KEY, number INT)"))
        connection.execute(text("INSERT INTO t VALUES (1, 2) ON DUPLICATE KEY UPDATE number = VALUES(number)"))

    assert [each for each in listener.deprecated if "VALUES function" in each]
    listener.warnings.clear()


def test_mysql_and_mariadb_are_told_apart(database_server: DatabaseServer):
    engine = create_engine(database_server.create_database(), poolclass=NullPool)

    with engine.connect() as connection:
        assert product_of(connection) is Product(database_server.title)


@servers_only
def test_each_table_gets_one_statement_for_a_batch(backend: Backend):
    # Given a batch of leads, each with an Idempotency-Key
    worker = Worker(backend)
    worker.run()
    ids = backend.accept(300)
    keys = [Remembered(bytes([number % 256, number // 256] * 16), bytes(32), each) for number, each in enumerate(ids)]

    with backend.database.statements() as statements:
        worker.run()
        with backend.engine.begin() as connection:
            idempotency.remember(connection, keys)
        Sweep(backend.shards, backend.engine, backend.settings).run()

    for table in ("leads", "lead_counts", "idempotency_keys", "accepted_counts"):
        assert len([each for each in statements if each.startswith(f"INSERT INTO {table} ")]) == 1, table


@pytest.mark.parametrize("tls", [False, True], ids=["in the clear", "TLS"])
def test_a_password_of_mysqls_own_kind_is_taken_over_tcp(mysql_server: MySQLServer, tls: bool):
    # Given a user whom the server has not seen since its start: it asks for the whole proof
    plain = mysql_server.create_database()
    name = f"fresh{int(tls)}"
    mysql_server.execute(f"CREATE USER {name}@'127.0.0.1' IDENTIFIED WITH caching_sha2_password BY 'p@ss:w/rd?'")
    mysql_server.execute(f"ALTER USER {name}@'127.0.0.1' REQUIRE {'SSL' if tls else 'NONE'}")
    mysql_server.execute(f"GRANT ALL ON {make_url(plain).database}.* TO {name}@'127.0.0.1'")
    url = make_url(plain).set(username=name, password="p@ss:w/rd?")
    clear = url.update_query_dict({"ssl_disabled": "true"})
    if tls:
        with pytest.raises(OperationalError, match="1045"):
            ciphers(text_of(clear))
        # The authority that it made at its first start; no name of this machine is in its certificate.
        url = url.update_query_dict({"ssl_ca": str(mysql_server.data / "ca.pem"), "ssl_check_hostname": "false"})
    else:
        url = clear

    migrate(text_of(url))

    assert bool(ciphers(text_of(url))) == tls


def test_a_server_that_the_given_authority_did_not_sign_is_refused(mysql_server: MySQLServer):
    url = make_url(mysql_server.create_database())

    with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        ciphers(text_of(url.update_query_dict({"ssl_ca": str(mysql_server.data / "client-cert.pem")})))


def text_of(url: Any) -> str:
    return str(url.render_as_string(hide_password=False))


def ciphers(url: str) -> str:
    """Connect as the workers do; return the cipher of the connection, or ""."""
    engine = engines.writer(url, timeout=5)
    try:
        with engine.connect() as connection:
            return str(connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()[1])
    finally:
        engine.dispose()


@pytest.fixture(params=["NO_BACKSLASH_ESCAPES", "ANSI,TRADITIONAL,NO_BACKSLASH_ESCAPES", ""], ids=["", "ansi", "lax"])
def mode(request: pytest.FixtureRequest, backend: Backend) -> Iterator[str]:
    """A server whose sessions begin with this sql_mode."""
    with backend.database.variable("sql_mode", f"'{request.param}'"):
        yield request.param


@servers_only
def test_a_servers_own_sql_mode_changes_nothing(backend: Backend, mode: str):
    # Given a server in another mode, from the migrations on
    url = backend.database.create_database()
    migrate(url)
    nasty = ["O'Brien", "back\\slash", 'quo"te', "it''s", "\\' OR 1=1 --"]
    ids = backend.accept_all([fields_of(number, firstName=name) for number, name in enumerate(nasty)])

    worker = Worker(backend, database_url=url)

    assert worker.run() == {"stored": len(nasty), "duplicates": 0, "dead": 0}
    with worker.engine.connect() as connection:
        rows = connection.execute(text("SELECT id, first_name FROM leads")).all()
        assert {bytes(key): name for key, name in rows} == dict(zip(ids, nasty, strict=True))
        # What does not fit is an error, and is not cut off.
        with pytest.raises(DBAPIError):
            connection.execute(text("UPDATE leads SET phone = REPEAT('1', 99)"))


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_a_primary_that_is_demoted_and_comes_back_loses_nothing(backend: Backend):
    # Given a worker with an open connection, when its server becomes a replica
    worker = Worker(backend)
    worker.run()
    ids = backend.accept(5)
    with backend.database.variable("super_read_only", "ON"):
        assert worker.run() == {"stored": 0, "duplicates": 0, "dead": 0}
        assert (backend.waiting(), backend.dead()) == (5, {})
        # And one who starts meanwhile waits as well
        assert Worker(backend).run()["dead"] == 0
    backend.database.execute("SET GLOBAL read_only = OFF")

    other = Worker(backend)
    assert other.drain(backend)
    assert backend.stored() == set(ids)
    backend.assert_counted()


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
@pytest.mark.destructive("database")
def test_no_connection_stays_with_a_server_that_became_read_only(backend: Backend):
    # Given three pooled connections
    engine = writer(backend.settings, pool_size=3)
    before = connections_of(engine, 3)
    assert connections_of(engine, 3) == before
    with backend.database.variable("read_only", "ON"):
        # When one of them is told that the server takes no writes
        with engine.connect() as connection, pytest.raises(OperationalError, match="1290") as error:
            connection.execute(text("INSERT INTO dropped_leads VALUES ('0123456789abcdef', NOW())"))
        assert error.value.connection_invalidated

    # Then none of them is used again
    assert connections_of(engine, 3).isdisjoint(before)
    engine.dispose()


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
@pytest.mark.destructive("database")
def test_a_member_that_its_group_has_expelled_counts_as_away(backend: Backend):
    # Given a worker with an open connection to a server that goes offline, as an expelled one does by default
    worker = Worker(backend)
    worker.run()
    ids = backend.accept(5)
    with backend.database.variable("offline_mode", "ON"):
        assert worker.run() == {"stored": 0, "duplicates": 0, "dead": 0}
        # And one who starts meanwhile
        late = Worker(backend)
        assert late.run() == {"stored": 0, "duplicates": 0, "dead": 0}
        assert late.errors == [3032]
        assert (backend.waiting(), backend.dead()) == (5, {})

    other = Worker(backend)
    assert other.drain(backend)
    assert backend.stored() == set(ids)


def connections_of(engine: Engine, number: int) -> set[int]:
    """Open so many connections at once; return the server's ids of them."""
    with ExitStack() as stack:
        opened = [stack.enter_context(engine.connect()) for _ in range(number)]
        return {each.execute(text("SELECT CONNECTION_ID()")).scalar_one() for each in opened}


def test_the_tests_run_on_a_mysql_with_a_binary_log(mysql_server: MySQLServer, tmp_path: Path):
    assert mysql_server.execute("SELECT @@log_bin, @@binlog_format")[0] == (1, "ROW")
    assert tuple(map(int, mysql_server.version().split(".")[:2])) >= (8, 4)
