"""The started stack: whole, scaled under load, killed under load, stopped and started; nothing is lost."""

import json
import stat
import threading
import time
from collections.abc import Callable

import httpx
import jwt
import pytest

from tests.kit import load
from tests.kit.leads import a_lead
from tests.kit.servers import until

from .stack import Stack, docker, files_with, logs_of, logs_since, now

pytestmark = pytest.mark.timeout(900)

SERVICES = ("mysql", "redis", "api", "worker", "beat", "flower", "nginx")

# A password that somebody tries, as it must be found nowhere.
WRONG = "Wr0ng-Passw0rd"

# What a process in a container answers to Prometheus.
METRICS = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:{}/metrics', timeout=5).read().decode())"

# Leads sent at once between two looks at whether the disturbance is over.
ROUND = 200


def sent_during(stack: Stack, disturb: Callable[[], object]) -> load.Ledger:
    """Send leads without a pause from before `disturb` until after it; return what the clients saw."""
    total = load.Ledger(0, 0)
    problems: list[BaseException] = []

    def run() -> None:
        try:
            disturb()
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run)
    rounds_after = 2
    while rounds_after:
        seen = load.send(stack, ROUND, connections=16, deadline=180)
        total.ids += seen.ids
        total.refused += seen.refused
        total.broken += seen.broken
        total.strange += seen.strange
        if thread.ident is None:
            thread.start()
        elif not thread.is_alive():
            rounds_after -= 1
    assert not problems, problems
    return total


def assert_nothing_lost(stack: Stack, seen: load.Ledger) -> None:
    ledger = stack.wait_until_drained()
    stored = stack.stored()
    assert set(seen.ids) <= set(stored)
    assert len(stored) == len(set(stored)) == ledger["stored"]
    assert (ledger["off"], ledger["dead"]) == (0, 0)


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

    assert published == {("nginx", "8080/tcp", "0.0.0.0"), ("flower", "5555/tcp", "127.0.0.1")}


def test_no_process_of_ours_is_root_and_each_container_has_its_limits(stack: Stack):
    for service in ("api", "worker", "beat", "flower"):
        for each in stack.containers(service):
            assert docker("exec", each["Id"], "id", "-u").strip() == "10001"
    for each in stack.containers():
        assert each["HostConfig"]["Memory"] > 0
        assert each["HostConfig"]["LogConfig"]["Config"]["max-size"]


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
    assert '"Grace"' in stack.make("api-logs-full", "ID=stack-good")
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
        seen = sent_during(
            stack, lambda api=api, workers=workers: stack.make("scale", f"API={api}", f"WORKERS={workers}")
        )
        since = now()
        # For longer than the second within which logs are told apart, and nginx learns of the containers.
        seen.ids += sent_during(stack, lambda: time.sleep(3)).ids

        assert (seen.refused, seen.broken, seen.strange) == (0, 0, [])
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


def test_an_upgrade_under_load_fails_no_request(stack: Stack):
    before = {each["Image"] for each in stack.containers("api")}
    changed = stack.directory / "ingest_api" / "__init__.py"
    changed.write_text(changed.read_text() + "# The next release.\n")

    seen = sent_during(stack, lambda: stack.make("build"))

    assert (seen.refused, seen.broken, seen.strange) == (0, 0, [])
    assert not before & {each["Image"] for each in (*stack.containers("api"), *stack.containers("worker"))}
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

    seen = sent_during(stack, change)

    assert (seen.refused, seen.broken, seen.strange) == (0, 0, [])
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


def test_a_backup_brings_back_what_was_deleted(stack: Stack):
    made = stack.accept()
    stack.wait_until_drained()
    file = stack.make("backup").strip().splitlines()[-1]
    (mysql,) = stack.containers("mysql")
    root = 'MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -u root leads -e "DELETE FROM leads"'
    docker("exec", mysql["Id"], "sh", "-c", root)
    assert stack.get("/api/leads").json()["data"]["items"] == []

    stack.make("restore", f"FILE={file}", "YES=1")

    assert made in stack.stored()
    assert (stack.wait_until_drained())["off"] == 0


def test_a_forged_address_does_not_change_whose_rate_limit_is_used(stack: Stack):
    stack.make("start", LEADS_RATE_LIMIT="8")
    left = []
    for number in range(8):
        forged = {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.8"}
        left.append(int(stack.client.get("/api/leads", headers=forged).headers["X-RateLimit-Remaining"]))

    assert left == list(range(7, -1, -1))
    assert stack.client.get("/api/leads", headers={"X-Forwarded-For": "198.51.100.1"}).status_code == 429


@pytest.mark.parametrize("name", ["LEADS_FIRST_PASSWORD", "LEADS_FLOWER_PASSWORD"])
def test_nothing_starts_on_the_password_that_everybody_knows(stack: Stack, name: str):
    stack.make("stop")

    said = stack.make("start", ok=False, **{name: "password123", "LEADS_READY_TIMEOUT": "20"})

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
