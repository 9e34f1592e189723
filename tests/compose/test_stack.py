"""The started stack: whole, closed to the outside, and what it answers when a part does not."""

import json
import re
import stat

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until

from .stack import SERVICES, Stack, docker, failures_since, files_with, logs_of, now, running, succeeds

pytestmark = pytest.mark.timeout(900)

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


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/api/../metrics", "/health/..%2fmetrics", "/static"])
def test_what_is_not_for_the_outside_is_not_found_and_says_so_in_json(stack: Stack, path: str):
    answer = httpx.get(f"http://127.0.0.1:{stack.port}{path}")

    assert answer.status_code == 404
    assert answer.json() == {"status": "error", "code": 404, "message": "Not Found"}
    assert answer.headers["X-Request-Id"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_is_for_the_outside(stack: Stack):
    url = f"http://127.0.0.1:{stack.port}"

    page = httpx.get(f"{url}/", headers={"Accept": "text/html"})
    files = re.findall(r'(?:src|href)="(/?page/[^"]+)"', page.text)

    assert page.headers["Content-Type"].startswith("text/html")
    assert files
    assert {httpx.get(f"{url}/{each.lstrip('/')}").status_code for each in files} == {200}


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
