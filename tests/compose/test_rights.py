"""What a container that was broken into may do: with the credentials that it holds, on the network that it is in."""

import json
import subprocess
from typing import Any

import httpx
import pytest

from tests.kit.servers import until

from .stack import Stack, docker

pytestmark = pytest.mark.timeout(900)

OURS = ("api", "worker", "beat", "flower")
SERVICES = (*OURS, "nginx", "mysql", "redis")

# Runs statements with the database account of the process, and prints the number of each one's error, or 0.
STATEMENTS = """
import json, sys
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from schema import settings
from schema.database import engines
engine = engines.writer(settings.load().primary_url, timeout=10)
found = []
for statement in json.load(sys.stdin):
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
        found.append(0)
    except DBAPIError as error:
        found.append(error.orig.args[0])
print(json.dumps(found))
"""

# Sends commands as the Redis user of the process, and prints how each one went.
COMMANDS = """
import json, sys
from redis.exceptions import RedisError
from schema import settings
from schema.runtime.redis_clients import blocking_redis
client = blocking_redis(settings.load().shards[0], timeout=10)
found = []
for command in json.load(sys.stdin):
    try:
        client.execute_command(*command.split())
        found.append("")
    except RedisError as error:
        found.append(type(error).__name__)
print(json.dumps(found))
"""

# MySQL's errors that say: not with these rights.
DENIED = {1044, 1142, 1143, 1227, 1419}

NOBODYS_COMMANDS = ["FLUSHALL", "KEYS *", "CONFIG SET maxmemory 1", "SHUTDOWN", "ACL LIST", "CLIENT LIST", "GET other"]

DATABASE = {
    "api": [
        "INSERT INTO dropped_leads VALUES (x'00', NOW())",
        "UPDATE users SET roles = 'admin'",
        "UPDATE leads SET email = ''",
        "DELETE FROM leads",
        "DROP TABLE leads",
        "CREATE TABLE x (id INT)",
        "CREATE USER x",
    ],
    "worker": [
        "SELECT * FROM users",
        "INSERT INTO users (email) VALUES ('x')",
        "DROP TABLE users",
        "DROP TABLE lead_counts",
        "ALTER TABLE lead_totals ADD COLUMN x INT",
        "CREATE TABLE x (id INT)",
        "GRANT SELECT ON leads.users TO leads_worker",
        "CREATE USER x",
    ],
}

QUEUE = {
    "api": [*NOBODYS_COMMANDS, "HGETALL unacked", "PUBLISH /0.celery.pidbox x"],
    "worker": NOBODYS_COMMANDS,
    "beat": NOBODYS_COMMANDS,
    "flower": [
        *NOBODYS_COMMANDS,
        "XRANGE leads:stream - +",
        "XRANGE leads:dead - +",
        "HGETALL leads:accepted",
        "LRANGE leads:requests 0 -1",
        "DEL leads:stream",
        "LPUSH leads:tickets x",
    ],
}


def asked_in(container: str, script: str, questions: list[str]) -> list[Any]:
    """Run a script in a container with the questions as its input; return its answers."""
    done = subprocess.run(
        ["docker", "exec", "--interactive", container, "python", "-c", script],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def the(stack: Stack, service: str) -> str:
    """Return the id of a service's container."""
    return str(stack.containers(service)[0]["Id"])


@pytest.mark.parametrize("service", DATABASE)
def test_a_service_cannot_do_in_mysql_what_it_need_not(stack: Stack, service: str):
    found = asked_in(the(stack, service), STATEMENTS, ["SELECT 1 FROM leads", *DATABASE[service]])

    assert found[0] == 0
    assert set(found[1:]) <= DENIED, dict(zip(DATABASE[service], found[1:], strict=True))


@pytest.mark.parametrize("service", QUEUE)
def test_a_service_cannot_do_in_redis_what_it_need_not(stack: Stack, service: str):
    found = asked_in(the(stack, service), COMMANDS, ["PING", *QUEUE[service]])

    assert found[0] == ""
    assert set(found[1:]) == {"NoPermissionError"}, dict(zip(QUEUE[service], found[1:], strict=True))


def test_redis_had_to_refuse_nothing_that_the_services_do(stack: Stack):
    (redis,) = stack.containers("redis")
    docker("exec", redis["Id"], "redis-cli", "ACL", "LOG", "RESET")
    auth = (stack.secret("LEADS_FLOWER_USER"), stack.secret("LEADS_FLOWER_PASSWORD"))

    made = stack.accept()
    until(lambda: stack.get(f"/api/leads/{made}").json()["data"]["state"] == "stored", 20, 0.1)
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.flower_port}", auth=auth, timeout=60) as flower:
        for path in ("/workers", "/tasks", "/broker", "/api/workers?refresh=1", "/api/queues/length"):
            assert flower.get(path).status_code == 200
    stack.make("status")
    stack.make("api-logs")
    stack.make("start")

    assert docker("exec", redis["Id"], "redis-cli", "ACL", "LOG").strip() == ""


@pytest.mark.parametrize("service", ["beat", "flower", "nginx"])
def test_who_does_not_ask_the_database_holds_no_password_of_it(stack: Stack, service: str):
    (container,) = stack.containers(service)

    assert "MYSQL" not in json.dumps(container["Config"]).upper()
    assert stack.secret("LEADS_FIRST_PASSWORD") not in json.dumps(container["Config"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_read_only_and_has_no_capabilities(stack: Stack, service: str):
    for container in stack.containers(service):
        name = container["Id"]
        touched = subprocess.run(["docker", "exec", name, "touch", "/somewhere"], capture_output=True, text=True)
        assert "Read-only file system" in touched.stderr
        assert container["HostConfig"]["PidsLimit"] > 0
        status = dict(
            line.split(":\t") for line in docker("exec", name, "cat", "/proc/1/status").splitlines() if ":\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        if service != "nginx":
            assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
            assert status["Uid"].split()[0] != "0"


def test_what_speaks_to_clients_in_nginx_has_no_capability(stack: Stack):
    name = the(stack, "nginx")
    workers = 'for each in /proc/[0-9]*; do grep -q "[w]orker process" $each/cmdline && cat $each/status; done; true'

    lines = docker("exec", name, "sh", "-c", workers).splitlines()

    assert {line.split()[1] for line in lines if line.startswith("CapEff")} == {"0" * 16}
    assert "0" not in {line.split()[1] for line in lines if line.startswith("Uid")}


def test_root_of_mysql_comes_from_within_its_container_alone(stack: Stack):
    name = the(stack, "mysql")
    asked = "MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec mysql -u root {} -Ne 'SELECT user FROM mysql.user WHERE host = \"%\"'"

    assert docker("exec", name, "sh", "-c", asked.format("")).split() == ["leads_api", "leads_migrate", "leads_worker"]
    refused = subprocess.run(
        ["docker", "exec", name, "sh", "-c", asked.format("-h 127.0.0.1")], capture_output=True, text=True
    )
    assert "denied" in refused.stderr


@pytest.mark.parametrize("path", ["worker/shutdown/{}", "worker/pool/restart/{}", "task/async-apply/store_leads"])
def test_flower_stops_no_worker_and_starts_no_task(stack: Stack, path: str):
    auth = (stack.secret("LEADS_FLOWER_USER"), stack.secret("LEADS_FLOWER_PASSWORD"))
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.flower_port}/api", auth=auth, timeout=60) as flower:
        worker = next(iter(flower.get("/workers", params={"refresh": 1}).json()))

        answer = flower.post("/" + path.format(worker), json={})

    assert answer.status_code == 403
    assert stack.healthy("worker")


def test_commands_that_change_users_and_counts_have_a_container_of_their_own(stack: Stack):
    stack.run(
        "ingest_api", "user", "create", "ann@example.com", "--role", "read", said="correct horse battery staple\n"
    )
    assert "ann@example.com\tread\tenabled" in stack.run("ingest_api", "user", "list")
    assert stack.client.post(
        "/api/login_check", json={"email": "ann@example.com", "password": "correct horse battery staple"}
    ).is_success
    assert "made anew" in stack.run("schema", "counts", "--rebuild")
    assert "The counts equal the rows." in stack.run("schema", "counts")


@pytest.mark.parametrize(
    "name", ["GRAFANA_PASSWORD", "LEADS_FLOWER_PASSWORD", "REDIS_API_PASSWORD", "MYSQL_API_PASSWORD"]
)
def test_nothing_starts_on_a_short_password(stack: Stack, name: str):
    said = stack.make("start", ok=False, **{name: "short"})

    assert name in said
    stack.make("start")
    stack.accept()
