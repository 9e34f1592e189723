"""The started stack is scaled, killed, upgraded, stopped and started, under load where it goes on; nothing is lost."""

import threading
import time

import httpx
import jwt
import pytest

from tests.kit.servers import until

from .stack import (
    SERVICES,
    Stack,
    assert_nothing_lost,
    docker,
    failures_since,
    logs_of,
    logs_since,
    now,
    running,
    sent_during,
    succeeds,
)

pytestmark = pytest.mark.timeout(900)


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
    # MySQL has been stopped since the migrations, whose DROP TABLE IF EXISTS are notes.
    (mysql,) = stack.containers("mysql")
    warned = "SELECT digest_text FROM performance_schema.events_statements_summary_by_digest WHERE sum_warnings > 0"
    root = f"MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -u root -Ne \"{warned} AND schema_name = 'leads'\""

    assert docker("exec", mysql["Id"], "sh", "-c", root) == ""
    assert "deprecated" not in logs_of(mysql["Id"])
