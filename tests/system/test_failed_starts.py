"""A start that cannot succeed: one line that says why, and an exit status that is not 0."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kit.leads import a_lead
from tests.kit.service import EMAIL, PASSWORD, Service

# What is wrong, and the word that the line must hold.
WRONG = {
    "a batch size in letters": ({"batch_size": "abc"}, "LEADS_BATCH_SIZE"),
    "a port out of range": ({"http_port": 99_999}, "LEADS_HTTP_PORT"),
    "another database": ({"database_url": "postgresql://user:hidden@127.0.0.1/leads"}, "LEADS_DATABASE_URL"),
    "another queue": ({"redis_url": "http://127.0.0.1/"}, "LEADS_REDIS_URL"),
    "no network": ({"trusted_proxies": "everyone"}, "LEADS_TRUSTED_PROXIES"),
    "no such key file": (
        {"jwt_private_key": "missing.pem", "jwt_public_key": "missing.pem"},
        "LEADS_JWT_PRIVATE_KEY",
    ),
    "no database there": (
        {"database_url": "mysql+pymysql://user:hidden@127.0.0.1:1/leads"},
        "LEADS_DATABASE_URL",
    ),
    "no queue there": ({"redis_url": "redis://:hidden@127.0.0.1:1/0"}, "LEADS_REDIS_URL"),
    "a data dir below a file": ({"data_dir": "/dev/null/data"}, "LEADS_DATA_DIR"),
    "Flower for all with the password that all know": ({"flower_host": "0.0.0.0"}, "LEADS_FLOWER_PASSWORD"),
    "Flower on a name that begins like loopback": ({"flower_host": "localhost.example.org"}, "LEADS_FLOWER_PASSWORD"),
    "Flower on a name that begins like an address": ({"flower_host": "127.example.org"}, "LEADS_FLOWER_PASSWORD"),
    "no directory of accepted keys": ({"jwt_accepted_keys": "missing"}, "LEADS_JWT_ACCEPTED_KEYS"),
    "the API's port is taken": ({"http_port": "taken"}, "LEADS_HTTP_PORT"),
    "Flower's port is taken": ({"flower_port": "taken"}, "LEADS_FLOWER_PORT"),
    "the data dir of another run": ({"data_dir": "taken"}, "LEADS_DATA_DIR"),
    "an address of another machine": ({"http_host": "192.0.2.1"}, "LEADS_HTTP_PORT"),
}


@pytest.fixture(scope="module")
def runs(embedded: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """All of them, started at once: most of their time is spent waiting."""
    with ExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        services = {}
        for name, (settings, _) in WRONG.items():
            used = embedded.data if "data_dir" in settings else taken.getsockname()[1]
            actual = {key: used if value == "taken" else value for key, value in settings.items()}
            service = services[name] = Service(tmp_path_factory.mktemp("failed"), **actual)
            service.launch()
            stack.callback(service.end)
        yield services


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_one_line(runs: dict[str, Service], name: str):
    service, word = runs[name], WRONG[name][1]
    assert isinstance(service.process, subprocess.Popen)

    status = service.process.wait(60)

    assert status not in (0, None)
    lines = service.errors.splitlines()
    assert len(lines) == 1, service.errors
    assert word in lines[0]
    assert "Traceback" not in service.errors + service.output
    assert "hidden" not in service.errors
    assert service.output == ""


def test_none_of_them_did_a_running_service_any_harm(runs: dict[str, Service], embedded: Service):
    embedded.wait_until_stored(*embedded.accept(a_lead()))


def test_the_well_known_password_is_for_loopback_alone(tmp_path: Path):
    with Service(tmp_path) as service:
        assert service.token()
    service.settings["http_host"] = "0.0.0.0"
    process = service.launch()

    assert process.wait(60) == 2
    (line,) = service.errors.splitlines()
    assert "LEADS_HTTP_HOST" in line
    assert "well-known password" in line


def test_a_first_user_with_a_password_of_its_own_may_log_in_from_anywhere(tmp_path: Path):
    settings = {"http_host": "0.0.0.0", "first_user": "boss@example.com", "first_password": "a long password"}
    with Service(tmp_path, **settings) as service:
        assert service.token("boss@example.com", "a long password")
        wrong = service.post("/api/login_check", {"email": EMAIL, "password": PASSWORD}, token=None)

    assert wrong.status_code == 401
    assert "a long password" not in service.output
