"""The request log, as an operator sees it: make, the command line, and what is in Redis."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import RedisServer, until
from tests.kit.service import EMAIL, PASSWORD, ROOT, Service

WRONG = "Wr0ng-Passw0rd"


@pytest.fixture(scope="module")
def queue() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, queue: RedisServer) -> Iterator[Service]:
    """Three API processes whose log keeps thirty requests, whole."""
    directory = tmp_path_factory.mktemp("logged")
    whole = {"request_log_bodies": "all", "request_log_personal": "clear"}
    with Service(directory, redis_url=queue.url, request_log=30, http_workers=3, redis_timeout=1, **whole) as service:
        yield service


def make(service: Service, target: str, *variables: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", target, *variables],
        cwd=ROOT,
        env={**service.environment, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def data_of(service: Service, request_id: str) -> dict:
    """Return a request, when it has come into the log."""
    until(lambda: make(service, "api-request-data", f"ID={request_id}").returncode == 0, 20)
    return dict(json.loads(make(service, "api-request-data", f"ID={request_id}").stdout))


def test_a_failed_log_in_a_bad_lead_and_a_good_one_are_shown_and_no_secret_is_anywhere(
    logged: Service, queue: RedisServer
):
    # Given a log-in that fails, one that succeeds, a lead that is refused and one that is not, and a stranger
    logged.post("/api/login_check", {"email": EMAIL, "password": WRONG}, token=None, X_Request_Id="login-wrong")
    logged.post("/api/login_check", {"email": EMAIL, "password": PASSWORD}, token=None, X_Request_Id="login-right")
    logged.post("/api/leads", a_lead(email="nobody"), X_Request_Id="lead-bad")
    logged.post("/api/leads?token=Wr0ng-Passw0rd", a_lead(firstName="Grace"), X_Request_Id="lead-good")
    logged.get("/api/nowhere", token=None, headers={"X-Request-Id": "nowhere", "Cookie": f"a={WRONG}"})

    # Then each of them is there, whole
    good = data_of(logged, "lead-good")
    assert (good["response"]["status"], good["user"], good["client"]) == (202, EMAIL, "127.0.0.1")
    assert good["request"]["body"]["firstName"] == "Grace"
    assert good["response"]["body"]["data"]["state"] == "queued"
    assert good["request"]["query"] == "token=[redacted]"
    bad = data_of(logged, "lead-bad")
    assert (bad["response"]["status"], bad["response"]["reason"]) == (400, "invalid")
    assert bad["response"]["body"]["errors"].keys() == {"email"}
    wrong = data_of(logged, "login-wrong")
    assert wrong["request"]["body"] == {"email": "[redacted]", "password": "[redacted]"}
    assert data_of(logged, "login-right")["response"]["body"] == {"token": "[redacted]"}
    assert data_of(logged, "nowhere")["response"]["status"] == 404

    # And in the lists
    everything, errors = make(logged, "api-logs").stdout, make(logged, "api-logs-errors").stdout
    for name in ("login-wrong", "login-right", "lead-bad", "lead-good", "nowhere"):
        assert name in everything
        assert (name in errors) == (name not in ("login-right", "lead-good"))
    assert "\x1b" not in everything + errors

    # And no secret is in Redis
    token = logged.token()
    client = queue.client()
    dump = b"".join(client.dump(key) or b"" for key in client.keys("*"))
    lists = b"".join(b"".join(client.lrange(key, 0, -1)) for key in ("leads:requests", "leads:requests:errors"))
    files = b"".join(path.read_bytes() for path in Path(client.config_get("dir")["dir"]).rglob("*") if path.is_file())
    assert b"login-wrong" in lists
    assert b"login-wrong" in files
    for secret in (WRONG, PASSWORD, token, token.split(".")[1], token.split(".")[2]):
        for place in (dump, lists, files):
            assert secret.encode() not in place


def test_one_request_can_be_read_in_full(logged: Service):
    request_id = logged.get("/api/leads", params={"limit": 5}).headers["X-Request-Id"]
    data_of(logged, request_id)

    text = make(logged, "api-logs-full", f"ID={request_id}").stdout

    assert "GET /api/leads?limit=5" in text
    assert "200 OK" in text
    assert re.search(r"took +\d+\.\d+ ms", text)
    assert "authorization: [redacted]" in text
    assert '"pagination"' in text


def test_the_status_that_an_open_page_asks_for_does_not_push_the_others_out(logged: Service):
    for _ in range(5):
        assert logged.get("/api/status", headers={"X-Request-Id": "of-the-page"}).status_code == 200
    logged.get("/api/status", token=None, headers={"X-Request-Id": "refused"})

    until(lambda: "refused" in make(logged, "api-logs", "N=10").stdout, 20)
    assert "of-the-page" not in make(logged, "api-logs", "N=10").stdout


def test_an_id_that_several_requests_have_shows_the_newest_and_says_how_many(logged: Service):
    for limit in (1, 2):
        logged.get("/api/leads", params={"limit": limit}, headers={"X-Request-Id": "twice"})

    until(lambda: "2 requests" in make(logged, "api-request-data", "ID=twice").stderr, 20)
    assert data_of(logged, "twice")["request"]["query"] == "limit=2"


@pytest.mark.parametrize("target", ["api-logs-full", "api-request-data"])
def test_an_unknown_or_missing_id_is_one_clear_line(logged: Service, target: str):
    unknown, missing = make(logged, target, "ID=no-such-id"), make(logged, target)

    assert unknown.returncode != 0
    assert "Error: no request 'no-such-id' is in the log" in unknown.stderr
    assert missing.returncode != 0
    assert "ID= is missing" in missing.stderr


def test_without_a_service_the_command_says_so_in_one_line(logged: Service, tmp_path: Path):
    result = make(logged, "api-logs", LEADS_REDIS_URL="", LEADS_DATA_DIR=str(tmp_path))

    assert result.returncode != 0
    assert "the queue does not answer" in result.stderr
    assert "Traceback" not in result.stderr


def test_only_the_last_requests_of_all_processes_are_kept(logged: Service, queue: RedisServer):
    for number in range(40):
        if number == 39:
            # Of those that come within a blink the ones whose process hands them over last are the last.
            time.sleep(3)
        # A connection of its own each: any of the three processes takes it.
        logged.get(f"/api/none/{number}", headers={"Connection": "close", "X-Request-Id": f"none-{number}"})

    data_of(logged, "none-39")
    for key in ("leads:requests", "leads:requests:errors"):
        # Pages that hold no more than is kept are not taken apart.
        assert 30 <= int(queue.client().get(f"{key}:held")) < 30 + 40
    assert len(make(logged, "api-logs-errors", "N=50").stdout.splitlines()) == 30
    shown = make(logged, "api-logs", "N=50").stdout.splitlines()
    numbers = [int(re.search(r"none-(\d+)$", line)[1]) for line in shown]
    assert len(numbers) == 30
    assert numbers == sorted(numbers)
    assert numbers[-1] == 39


def test_requests_of_a_time_without_redis_come_into_the_log_after_it(logged: Service, queue: RedisServer):
    with queue.hanging():
        answer = logged.post("/api/leads", a_lead(), X_Request_Id="without-redis")
        assert answer.status_code == 503

    found = data_of(logged, "without-redis")
    assert (found["response"]["status"], found["response"]["reason"]) == (503, "queue_away")
    until(lambda: logged.post("/api/leads", a_lead()).status_code == 202, 20)


def test_the_log_of_the_embedded_run_is_found_and_can_be_deleted(embedded: Service):
    embedded.get("/api/leads", headers={"X-Request-Id": "embedded"})
    assert data_of(embedded, "embedded")["response"]["status"] == 200

    cleared = subprocess.run(
        [ROOT / "compose" / "request-log", "clear", "--yes"],
        env={**os.environ, **embedded.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "deleted" in cleared.stdout
    assert make(embedded, "api-request-data", "ID=embedded").returncode != 0
