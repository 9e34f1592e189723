"""`python -m compose.production`: what the containers wait for. It refuses secrets that everybody knows."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.kit.databases import MySQLServer
from tests.kit.servers import RedisServer
from tests.kit.service import ROOT

SECRET = "9f86d081884c7d659a2feaa0c55ad015"


@pytest.fixture(scope="module")
def locked() -> Iterator[RedisServer]:
    """A Redis that asks for a password."""
    with RedisServer() as server:
        server.client().config_set("requirepass", SECRET)
        yield server


@pytest.fixture
def settings(locked: RedisServer, mysql_server: MySQLServer, tmp_path: Path) -> dict[str, str]:
    """The environment of a good start on an empty database."""
    url = mysql_server.create_database()
    name = url.rpartition("/")[2]
    mysql_server.execute(f"CREATE USER IF NOT EXISTS strong@'127.0.0.1' IDENTIFIED BY '{SECRET}'")
    mysql_server.execute(f"GRANT ALL ON {name}.* TO strong@'127.0.0.1'")
    return {
        "LEADS_DATA_DIR": str(tmp_path / "data"),
        "LEADS_HTTP_HOST": "0.0.0.0",
        "LEADS_REDIS_URL": f"redis://:{SECRET}@127.0.0.1:{locked.port}/0",
        "LEADS_DATABASE_URL": f"mysql+pymysql://strong:{SECRET}@127.0.0.1:{mysql_server.port}/{name}",
        "LEADS_FIRST_USER": "boss@example.com",
        "LEADS_FIRST_PASSWORD": "correct horse battery staple",
        "LEADS_FLOWER_HOST": "0.0.0.0",
        "LEADS_FLOWER_PASSWORD": SECRET,
        "GRAFANA_PASSWORD": SECRET,
    }


def run(settings: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *(command or ("compose.production",))],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_makes_tables_keys_and_the_first_user_once(settings: dict[str, str]):
    for _ in range(2):
        done = run(settings)
        assert (done.returncode, done.stderr) == (0, "")

    users = run(settings, "ingest_api", "user", "list").stdout.splitlines()
    assert [line.split("\t")[:2] for line in users] == [["boss@example.com", "admin,export,ingest,read"]]
    private = Path(settings["LEADS_DATA_DIR"]) / "keys" / "jwt-private.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEADS_FIRST_PASSWORD", ""),
        ("LEADS_FIRST_PASSWORD", "password123"),
        ("LEADS_FIRST_PASSWORD", "a-short-one"),
        ("LEADS_FIRST_USER", "nobody"),
        ("LEADS_REDIS_URL", ""),
        ("LEADS_REDIS_URL", "redis://127.0.0.1:6379/0"),
        ("LEADS_DATABASE_URL", ""),
        ("LEADS_DATABASE_URL", "mysql+pymysql://leads:Secret@127.0.0.1:3306/leads"),
        ("LEADS_FLOWER_PASSWORD", "password123"),
        ("LEADS_FLOWER_PASSWORD", "admin"),
        ("GRAFANA_PASSWORD", "admin"),
        ("GRAFANA_PASSWORD", ""),
    ],
)
def test_it_refuses_what_everybody_knows_in_one_line(settings: dict[str, str], name: str, value: str):
    done = run({**settings, name: value})

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Cannot start: ")
    assert name in line
    assert SECRET not in line


def test_it_refuses_a_database_in_which_the_well_known_user_can_log_in(settings: dict[str, str]):
    assert run(settings).returncode == 0
    made = subprocess.run(
        [sys.executable, "-m", "ingest_api", "user", "create", "test@example.com", "--role", "read"],
        cwd=ROOT,
        env={**os.environ, **settings},
        input="password123\n",
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr

    done = run(settings)

    assert done.returncode == 2
    assert "well-known password" in done.stderr


@pytest.mark.parametrize(("name", "value"), [("maxmemory-policy", "allkeys-lru"), ("appendfsync", "everysec")])
def test_it_says_in_one_line_that_redis_may_lose_leads(
    settings: dict[str, str], locked: RedisServer, name: str, value: str
):
    client = redis.Redis.from_url(settings["LEADS_REDIS_URL"], decode_responses=True)
    before = client.config_get(name)[name]
    client.config_set(name, value)
    try:
        done = run(settings)
    finally:
        client.config_set(name, before)

    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert f"{name} {value}" in line
    assert f"Set {name} {before}" in line
