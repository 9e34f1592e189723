"""The started stack: whole, scaled under load, killed under load, stopped and started; nothing is lost."""

import json
import stat
import subprocess
import threading
import time

import httpx
import jwt
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until

from .stack import Stack, assert_nothing_lost, docker, failures_since, files_with, logs_of, logs_since, now, sent_during

pytestmark = pytest.mark.timeout(900)

SERVICES = ("mysql", "redis", "api", "worker", "beat", "flower", "nginx")

# A password that somebody tries, as it must be found nowhere.
WRONG = "Wr0ng-Passw0rd"

# Prints the modules that Python compiles for lack of bytecode, when it loads the one that is named.
COMPILED_NOW = """
import importlib, sys
from importlib.machinery import SourceFileLoader
compile_source = SourceFileLoader.source_to_code
def compile_and_say(self, data, path, *arguments, **options):
    print(path)
    return compile_source(self, data, path, *arguments, **options)
SourceFileLoader.source_to_code = compile_and_say
importlib.import_module(sys.argv[1])
"""

# Takes connections on a port and never answers.
HANG = "import socket, time; s = socket.create_server(('127.0.0.1', 9999)); time.sleep(60)"

# What a process in a container answers to Prometheus.
METRICS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:{}/metrics', timeout=5).read().decode())"


def running(stack: Stack) -> dict[str, set[str]]:
    """Return the ids of each service's running containers."""
    return {
        service: {each["Id"] for each in stack.containers(service) if each["State"]["Running"]} for service in SERVICES
    }


def succeeds(container: str, *command: str) -> bool:
    """Run a command in a container; tell whether it ended with 0."""
    return subprocess.run(["docker", "exec", container, *command], capture_output=True, timeout=60).returncode == 0


def test_every_container_is_healthy_and_a_lead_goes_through(stack: Stack):
    for service in SERVICES:
        until(lambda service=service: stack.healthy(service), 30, 0.5)

    made = stack.accept()

    until(lambda: stack.get(f"/api/leads/{made}").json()["data"]["state"] == "stored", 20, 0.1)
    assert "Lead Ingest is ready." in stack.built
    assert stack.secret("LEADS_FIRST_PASSWORD") not in stack.built


def test_the_secrets_are_random_and_for_their_owner_alone(stack: Stack):
    path = stack.directory / "compose" / "production.env"

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    names = [line.partition("=")[0] for line in path.read_text().splitlines() if "PASSWORD=" in line]
    secrets = [stack.secret(name) for name in names]
    assert len(set(secrets)) == len(secrets) >= 6
    assert all(len(secret) >= 24 for secret in secrets)


def test_only_the_named_ports_are_published(stack: Stack):
    published = {
        (service, port, bound["HostIp"])
        for service in (*SERVICES, "migrate")
        for each in stack.containers(service)
        for port, bindings in each["NetworkSettings"]["Ports"].items()
        for bound in bindings or ()
    }

    assert published == {("nginx", "8080/tcp", "127.0.0.1"), ("flower", "5555/tcp", "127.0.0.1")}


def test_no_process_of_ours_is_root_and_each_container_has_its_limits(stack: Stack):
    for service in ("api", "worker", "beat", "flower"):
        for each in stack.containers(service):
            assert docker("exec", each["Id"], "id", "-u").strip() == "10001"
    for each in stack.containers():
        assert each["HostConfig"]["Memory"] > 0
        assert each["HostConfig"]["LogConfig"]["Config"]["max-size"]


def test_nothing_is_compiled_at_a_start_and_nobody_can_write_the_code(stack: Stack):
    for service, module in (("api", "ingest_api.app"), ("worker", "workers.app"), ("flower", "flower.command")):
        (container, *_) = stack.containers(service)

        assert docker("exec", container["Id"], "python", "-c", COMPILED_NOW, module).split() == []
        assert docker("exec", container["Id"], "find", "/srv", "/opt/venv", "-writable", "!", "-type", "l") == ""


@pytest.mark.parametrize("service", ["api", "flower"])
def test_a_health_check_sees_what_answers_otherwise_or_not_at_all(stack: Stack, service: str):
    name = stack.containers(service)[0]["Id"]
    _, *check, port, path = stack.containers(service)[0]["Config"]["Healthcheck"]["Test"]

    assert succeeds(name, *check, port, path)
    assert not succeeds(name, *check, port, "/nothing")
    assert not succeeds(name, *check, "1", path)
    docker("exec", "--detach", name, "python", "-c", HANG)
    until(lambda: succeeds(name, "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9999"), 30, 0.2)
    assert not succeeds(name, *check, "9999", path)


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/api/../metrics", "/health/..%2fmetrics", "/", "/static"])
def test_what_is_not_for_the_outside_is_not_found_and_says_so_in_json(stack: Stack, path: str):
    answer = httpx.get(f"http://127.0.0.1:{stack.port}{path}")

    assert answer.status_code == 404
    assert answer.json() == {"status": "error", "code": 404, "message": "Not Found"}
    assert answer.headers["X-Request-Id"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_body_over_the_limit_is_refused_in_the_envelope(stack: Stack):
    headers = {"Authorization": f"Bearer {stack.token()}", "Content-Type": "application/json"}

    for path, size in (("/api/leads", 1 << 20), ("/api/leads/bulk", 8 << 20)):
        inside, over = (stack.client.post(path, content=b" " * n, headers=headers) for n in (size, size + 1))

        assert inside.status_code == 400
        assert over.status_code == 413
        assert over.json()["status"] == "error"


def test_the_request_log_shows_what_was_sent_and_no_secret_is_anywhere(stack: Stack):
    # Given a log-in that fails, a lead that is refused and one that is not
    token = stack.token()
    bearer = {"Authorization": f"Bearer {token}"}
    for name, path, body, headers in (
        ("stack-login", "/api/login_check", {"email": "a@example.com", "password": WRONG}, {}),
        ("stack-bad", "/api/leads", a_lead(email="nobody"), bearer),
        ("stack-good", "/api/leads", a_lead(firstName="Grace"), bearer),
    ):
        stack.client.post(path, json=body, headers={"X-Request-Id": name, **headers})

    # Then make shows them, whichever API container they went through
    until(lambda: all(f" stack-{name}" in stack.make("api-logs") for name in ("login", "bad", "good")), 30, 0.5)
    errors = stack.make("api-logs-errors")
    assert "stack-login" in errors
    assert "stack-bad" in errors
    assert "stack-good" not in errors
    assert '"email": "n…6"' in stack.make("api-logs-full", "ID=stack-bad")
    assert "Grace" not in stack.make("api-logs-full", "ID=stack-good")
    good, login = (json.loads(stack.make("api-request-data", f"ID=stack-{name}")) for name in ("good", "login"))
    assert (good["response"]["status"], good["user"]) == (202, stack.secret("LEADS_FIRST_USER"))
    # The client's address and not nginx's, which is in the network behind.
    assert not good["client"].startswith(stack.settings["LEADS_SUBNET"].rpartition(".")[0])
    assert (login["response"]["status"], login["request"]["body"]["password"]) == (401, "[redacted]")

    # And no secret is in Redis's files, in Flower's, in a log or in the metrics
    (redis,), (flower,) = (stack.containers(service) for service in ("redis", "flower"))
    workers = [(each["Id"], 9808) for each in stack.containers("worker")]
    metrics = [docker("exec", name, "python", "-c", METRICS.format(port)) for name, port in workers]
    metrics += [docker("exec", each["Id"], "python", "-c", METRICS.format(8080)) for each in stack.containers("api")]
    logs = [logs_of(each["Id"]) for each in stack.containers()]
    for secret in (WRONG, stack.secret("LEADS_FIRST_PASSWORD"), token, *token.split(".")[1:]):
        assert not files_with(redis["Id"], "/data", secret)
        assert not files_with(flower["Id"], "/var/lib/lead-ingest", secret)
        assert not [text for text in (*metrics, *logs) if secret in text]
    assert files_with(redis["Id"], "/data", "stack-good")
    assert any("stack-good" in text for text in logs)


def test_scaling_under_load_fails_no_request_and_nginx_sees_it(stack: Stack):
    for api, workers in ((3, 4), (2, 2)):
        began = now()
        seen = sent_during(
            stack, lambda api=api, workers=workers: stack.make("scale", f"API={api}", f"WORKERS={workers}")
        )
        since = now()
        # For longer than the second within which logs are told apart, and nginx learns of the containers.
        seen.ids += sent_during(stack, lambda: time.sleep(3)).ids

        assert (seen.refused, seen.broken, seen.strange) == (0, 0, []), failures_since(stack, began)
        assert (len(stack.containers("api")), len(stack.containers("worker"))) == (api, workers)
        (nginx,) = stack.containers("nginx")
        lines = logs_since(nginx["Id"], since + 1)
        assert len({line["upstream"] for line in lines if line["method"] == "POST"}) == api
        assert_nothing_lost(stack, seen)


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_that_is_killed_under_load_loses_nothing(stack: Stack, service: str):
    victim = stack.containers(service)[0]["Id"]

    def kill_and_start() -> None:
        docker("kill", victim)
        docker("start", victim)
        until(lambda: stack.healthy(service), 90, 0.5)

    seen = sent_during(stack, kill_and_start)

    assert seen.strange == []
    assert_nothing_lost(stack, seen)


@pytest.mark.parametrize("commands", [("start",), ("build",), ("scale", "API=2", "WORKERS=2")])
def test_a_container_that_is_up_to_date_is_left_alone(stack: Stack, commands: tuple[str, ...]):
    before = running(stack)

    stack.make(*commands)

    assert running(stack) == before


def test_a_changed_definition_replaces_the_containers_that_it_concerns(stack: Stack):
    before = running(stack)

    stack.make("start", LEADS_BATCH_SIZE="999", MYSQL_BINLOG_SECONDS="86400")

    after = running(stack)
    kept = {service for service in SERVICES if before[service] == after[service]}
    # Of the settings only the API and the workers get this one.
    assert kept == {"redis", "nginx", "beat", "flower"}
    stack.make("start")
    assert running(stack)["nginx"] == before["nginx"]


def test_a_changed_site_is_served_after_a_start(stack: Stack):
    site = stack.directory / "compose" / "production" / "nginx" / "site.conf"
    site.write_text(site.read_text() + "location = /new {\n    return 204;\n}\n")

    stack.make("start")

    until(lambda: stack.client.get("/new").status_code == 204, 30, 0.2)


def test_another_python_is_asked_for_by_its_version_or_its_image(stack: Stack):
    before = running(stack)

    # Nobody listens there.
    said = stack.make("build", "PYTHON=localhost:1/python:0", ok=False)

    assert "localhost:1" in said
    assert running(stack) == before


def test_an_upgrade_under_load_fails_no_request(stack: Stack):
    nginx = running(stack)["nginx"]
    before = {each["Image"] for each in stack.containers("api")}
    changed = stack.directory / "ingest_api" / "__init__.py"
    changed.write_text(changed.read_text() + "# The next release.\n")

    began = now()
    seen = sent_during(stack, lambda: stack.make("build"))

    assert (seen.refused, seen.broken, seen.strange) == (0, 0, []), failures_since(stack, began)
    assert not before & {each["Image"] for each in (*stack.containers("api"), *stack.containers("worker"))}
    assert running(stack)["nginx"] == nginx
    assert len(stack.containers("api")) == 2
    assert_nothing_lost(stack, seen)


def reads(stack: Stack, token: str) -> int:
    """Read with a token; return the status."""
    return stack.client.get("/api/leads", headers={"Authorization": f"Bearer {token}"}).status_code


def test_keys_are_changed_under_load_and_nobody_is_logged_out(stack: Stack):
    old = stack.token()

    def change() -> None:
        stack.key("prepare")
        stack.wait_until_reloaded()
        stack.key("use")
        stack.wait_until_reloaded()

    began = now()
    seen = sent_during(stack, change)

    assert (seen.refused, seen.broken, seen.strange) == (0, 0, []), failures_since(stack, began)
    new = stack.log_in()
    assert jwt.get_unverified_header(new)["kid"] != jwt.get_unverified_header(old)["kid"]
    assert [reads(stack, token) for token in (old, new)] == [200, 200]
    stack.key("retire")
    stack.wait_until_reloaded()
    until(
        lambda: stack.client.get("/api/leads", headers={"Authorization": f"Bearer {old}"}).status_code == 403, 30, 0.5
    )
    assert stack.client.get("/api/leads", headers={"Authorization": f"Bearer {new}"}).status_code == 200
    stack.use_token(new)


def test_stop_and_start_keep_everything(stack: Stack):
    seen = sent_during(stack, lambda: None)
    before = stack.wait_until_drained()
    stack.make("stop")
    assert not [each for each in stack.containers() if each["State"]["Running"]]

    stack.make("start")

    assert stack.wait_until_drained() == before
    assert_nothing_lost(stack, seen)
    shown = httpx.get(
        f"http://127.0.0.1:{stack.flower_port}/api/tasks",
        auth=(stack.secret("LEADS_FLOWER_USER"), stack.secret("LEADS_FLOWER_PASSWORD")),
        timeout=20,
    ).json()
    assert len([task for task in shown.values() if task["name"] == "store_leads"]) > 1


def test_a_start_waits_for_an_api_that_is_not_healthy_for_a_minute(stack: Stack):
    stack.make("stop")
    given_up: list[str] = []

    def hold_up() -> None:
        until(lambda: len(running(stack)["api"]) == 2, 120, 0.2)
        names = sorted(running(stack)["api"])
        # Docker has then given it up: its health check fails three times after twenty seconds.
        while not all(each["State"]["Health"]["Status"] == "unhealthy" for each in stack.containers("api")):
            for name in names:
                succeeds(name, "sh", "-c", "kill -STOP -1")
            time.sleep(1)
        given_up.extend(names)
        for name in names:
            succeeds(name, "sh", "-c", "kill -CONT -1")

    thread = threading.Thread(target=hold_up)
    thread.start()
    stack.make("start")
    thread.join()

    assert len(given_up) == 2
    stack.accept()


def test_mysql_warns_of_no_statement_and_of_no_option_of_ours(stack: Stack):
    (mysql,) = stack.containers("mysql")
    warned = "SELECT digest_text FROM performance_schema.events_statements_summary_by_digest WHERE sum_warnings > 0"
    root = f"MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -u root -Ne \"{warned} AND schema_name = 'leads'\""

    assert docker("exec", mysql["Id"], "sh", "-c", root) == ""
    assert "deprecated" not in logs_of(mysql["Id"])


def test_a_forged_address_does_not_change_whose_rate_limit_is_used(stack: Stack):
    stack.make("start", LEADS_RATE_LIMIT="8")
    left = []
    for number in range(8):
        forged = {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.8"}
        left.append(int(stack.client.get("/api/leads", headers=forged).headers["X-RateLimit-Remaining"]))

    assert left == list(range(7, -1, -1))
    assert stack.client.get("/api/leads", headers={"X-Forwarded-For": "198.51.100.1"}).status_code == 429


def test_a_request_that_was_sent_and_is_not_answered_is_not_sent_again(stack: Stack):
    began = now()
    names = running(stack)["api"]
    docker("pause", *names)
    try:
        # As long as nginx waits for an answer, and some.
        answer = stack.client.post("/api/leads", json=a_lead(), timeout=90)
    finally:
        docker("unpause", *names)

    assert answer.status_code == 503
    assert answer.json()["message"] == "The service does not answer."
    (line,) = [line for line in failures_since(stack, began) if line["method"] == "POST"]
    assert line["upstream_status"] == "504"


@pytest.mark.parametrize("name", ["LEADS_FIRST_PASSWORD", "LEADS_FLOWER_PASSWORD"])
def test_nothing_starts_on_the_password_that_everybody_knows(stack: Stack, name: str):
    stack.make("stop")

    said = stack.make("start", ok=False, **{name: "password123", "LEADS_READY_TIMEOUT": "60"})

    assert name in said
    if name == "LEADS_FIRST_PASSWORD":
        assert not [each for each in stack.containers("api") if each["State"]["Running"]]


def test_a_lead_that_is_sent_while_no_api_runs_gets_the_envelope(stack: Stack):
    stack.make("start")
    for each in stack.containers("api"):
        docker("stop", each["Id"])

    answer = stack.client.post("/api/leads", json=a_lead())

    assert answer.status_code == 503
    assert answer.json() == {
        "status": "error",
        "code": 503,
        "message": "The service does not answer.",
        "retry_after": 2,
    }
    assert answer.headers["Retry-After"] == "2"
