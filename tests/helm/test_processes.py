"""The pods of the chart as processes on a real Redis and MySQL: commands, environments, accounts and probes work."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from ingest_api.auth import keys
from schema.settings import Settings
from tests.helm import chart
from tests.helm.backlog import PASSWORD, SECRETS, make_users
from tests.helm.chart import VALUES, Manifest
from tests.helm.pods import Pod, Secrets
from tests.kit.accounts import grant, make_mysql_accounts
from tests.kit.databases import MySQLServer
from tests.kit.kubernetes import need
from tests.kit.leads import a_lead
from tests.kit.servers import RedisServer, until

need("helm")

pytestmark = [pytest.mark.extended, pytest.mark.slow]

USER = "ann@example.com"


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis with the users of the production form."""
    with RedisServer() as server:
        make_users(server.client())
        yield server


@pytest.fixture
def database() -> Iterator[MySQLServer]:
    """A MySQL with the accounts of the production form."""
    with MySQLServer() as server:
        server.execute("CREATE DATABASE leads CHARACTER SET utf8mb4")
        make_mysql_accounts(server, SECRETS)
        yield server


@pytest.fixture
def pods(redis_server: RedisServer, database: MySQLServer, tmp_path: Path) -> dict[str, Pod]:
    """The pods of the chart by component, with nothing made."""
    values = {
        "redis.hosts[0]": f"127.0.0.1:{redis_server.port}",
        "mysql.host": "127.0.0.1",
        "mysql.port": database.port,
        "app.firstUser": USER,
        "flower.enabled": "true",
        # Quick in a test, where nobody is in front.
        "api.stop.drain": 1,
    }
    objects = chart.manifests(chart.template("--values", VALUES / "default.yaml", *chart.given(values)))
    specs = chart.pod_specs(objects)
    prefix = "leads-lead-ingest-"
    return {name.removeprefix(prefix): Pod(spec, secrets_of(objects), tmp_path / name) for name, spec in specs.items()}


def secrets_of(objects: list[Manifest]) -> Secrets:
    """Return what is in the Secrets, those of the chart and those that are brought along."""
    made: Secrets = {
        each["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in each["data"].items()}
        for each in objects
        if each["kind"] == "Secret"
    }
    names = ("api", "worker", "flower", "migrate", "first-password", "flower-password")
    return made | {f"leads-{each}": dict.fromkeys(names, PASSWORD) for each in ("redis", "mysql", "app")}


def test_a_lead_goes_in_and_comes_out(pods: dict[str, Pod], database: MySQLServer, redis_server: RedisServer):
    assert pods["migrate-before"].run() == "The tables are up to date, and somebody can log in.\n"
    grant(database)
    pods["migrate-after"].run()
    with ExitStack() as stack:
        running = {name: stack.enter_context(pods[name]) for name in ("api", "worker", "beat", "flower")}
        for pod in running.values():
            pod.wait_until("startupProbe")
        for probe in ("readinessProbe", "livenessProbe"):
            for name in ("api", "worker"):
                running[name].wait_until(probe)
        running["beat"].wait_until("livenessProbe")
        running["flower"].wait_until("livenessProbe")

        api = httpx.Client(base_url=f"http://127.0.0.1:{running['api'].ports['http']}", timeout=20)
        login = {"email": USER, "password": PASSWORD}
        token = api.post("/api/login_check", json=login).json()["token"]
        api.headers["Authorization"] = f"Bearer {token}"
        accepted = api.post("/api/leads", json=a_lead())
        assert accepted.status_code == 202
        place = accepted.headers["Location"]
        until(lambda: api.get(place).json()["data"]["state"] == "stored", 30, 0.1)

        # While the database is away the API stays ready, and accepts.
        database.kill()
        assert api.get("/health/ready").status_code == 503
        assert api.post("/api/leads", json=a_lead()).status_code == 202
        for name in ("api", "worker"):
            assert all(running[name].probe(probe) for probe in ("readinessProbe", "livenessProbe"))
        database.start()

        # A worker without Redis is not ready, after half a minute, and nobody kills it.
        redis_server.hang()
        until(lambda: not running["worker"].probe("readinessProbe"), 60, 1)
        assert running["worker"].probe("livenessProbe")
        redis_server.resume()
        running["worker"].wait_until("readinessProbe")

        for pod in running.values():
            pod.terminate()


def test_the_key_that_the_chart_makes_is_one_that_signs_tokens(tmp_path: Path):
    objects = chart.manifests(chart.template("--values", VALUES / "default.yaml"))
    (tmp_path / "keys").mkdir()
    key = secrets_of(objects)["leads-lead-ingest-tokens"]["jwt-private.pem"]
    settings = replace(Settings(), data_dir=tmp_path)
    settings.private_key_path.write_text(key)

    keys.ensure(settings)

    signing, verifying = keys.load(settings)
    assert signing.public_key().public_numbers() == verifying.public_numbers()
