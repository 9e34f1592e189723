"""compose.yml: every container is bounded, watched, kept apart, and gets every setting that may be changed."""

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from schema.database.tables import metadata
from schema.queue import keys
from schema.settings import Settings, variable
from tests.kit.accounts import redis_users

COMPOSE = Path(__file__).parents[2] / "compose"
PRODUCTION = COMPOSE / "production"
FILE = yaml.safe_load((PRODUCTION / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]

VARIABLES = {variable(spec.name) for spec in dataclasses.fields(Settings)}

# Paths and ports within a container, which volumes, ports and Prometheus count on; and a time that stop_grace_period
# has to be longer than.
FIXED = {
    # The stack has one Redis, which is the broker, too.
    "LEADS_BROKER_URL",
    "LEADS_QUEUE_NEXT_SHARDS",
    "LEADS_QUEUE_NEXT_URL",
    "LEADS_QUEUE_SHARDS",
    "LEADS_DATA_DIR",
    "LEADS_FLOWER_DATABASE",
    "LEADS_FLOWER_PORT",
    "LEADS_HTTP_HOST",
    "LEADS_HTTP_PORT",
    "LEADS_HTTP_SHUTDOWN_TIMEOUT",
    "LEADS_JWT_ACCEPTED_KEYS",
    "LEADS_JWT_PRIVATE_KEY",
    "LEADS_JWT_PUBLIC_KEY",
    "LEADS_WORKER_METRICS_PORT",
}

# Their image brings its own health check, or they end at once.
OWN_HEALTH = {"api", "migrate"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_bounded_watched_and_started_again(name: str):
    service = SERVICES[name]

    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    assert name in OWN_HEALTH or service["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_the_same_to_every_release_of_compose_whichever_others_start_with_it(name: str):
    assert "depends_on" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_by_its_version(name: str):
    image = SERVICES[name]["image"]

    assert image.startswith("lead-ingest:") or re.search(r":v?\d+\.\d+", image)


def test_a_health_check_does_not_start_a_python():
    checks = [str(service.get("healthcheck", "")) for service in SERVICES.values()]
    image = (PRODUCTION / "Dockerfile").read_text()
    checks += re.findall(r"HEALTHCHECK (?:.*\\\n)*.*", image)

    assert len(checks) == len(SERVICES) + 1
    assert not [check for check in checks if "python" in check]


def test_what_is_published_is_for_loopback_and_the_tls_port_alone_for_all():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    with_tls = yaml.safe_load((PRODUCTION / "compose.tls.yml").read_text())["services"]

    assert published.keys() == {"nginx", "flower", "grafana"}
    assert published["nginx"] == ["${LEADS_PUBLIC_HOST:-127.0.0.1}:${LEADS_PUBLIC_PORT:-8080}:8080"]
    assert with_tls.keys() == {"nginx"}
    assert with_tls["nginx"]["ports"] == ["${LEADS_PUBLIC_TLS_HOST:-0.0.0.0}:${LEADS_PUBLIC_TLS_PORT:-8443}:8443"]
    for name in ("flower", "grafana"):
        assert all(port.startswith("127.0.0.1:") for port in published[name])


def test_bodies_on_their_way_have_a_bounded_place_in_memory():
    (tmpfs,) = SERVICES["nginx"]["tmpfs"]
    (size,) = re.findall(r"/tmp:.*size=(\d+)m", tmpfs)

    assert 2 * int(size) <= int(SERVICES["nginx"]["deploy"]["resources"]["limits"]["memory"].removesuffix("m"))
    assert re.findall(r"client_body_temp_path (\S+);", (PRODUCTION / "nginx" / "nginx.conf").read_text()) == [
        "/tmp/lead-ingest/body"
    ]


def test_nginx_counts_with_the_defaults_of_the_apis_rate_limit():
    start = (PRODUCTION / "nginx" / "start").read_text()

    defaults = Settings()
    assert f"${{LEADS_RATE_LIMIT:-{defaults.rate_limit}}}" in start
    assert f"${{LEADS_RATE_LIMIT_WINDOW:-{defaults.rate_limit_window}}}" in start


def test_who_may_name_a_client_is_in_a_network_that_nobody_else_reaches():
    back = FILE["networks"]["back"]

    assert back["internal"] is True
    assert back["ipam"]["config"][0]["subnet"] == SERVICES["api"]["environment"]["LEADS_TRUSTED_PROXIES"]
    assert [name for name, service in SERVICES.items() if "front" in service["networks"]] == [
        "nginx",
        "flower",
        "alertmanager",
        "grafana",
    ]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_runs_without_rights_it_does_not_need(name: str):
    service = SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["deploy"]["resources"]["limits"]["pids"]
    assert name == "nginx" or "cap_add" not in service
    assert "privileged" not in service
    assert not [volume for volume in service.get("volumes", ()) if "docker.sock" in volume]


def test_nothing_but_nginx_starts_as_root():
    assert "\nUSER leads\n" in (PRODUCTION / "Dockerfile").read_text()
    # Those images bring a user of their own.
    others = {"prometheus", "alertmanager", "grafana"}
    root = {
        name
        for name, service in SERVICES.items()
        if name not in others and "user" not in service and not service["image"].startswith("lead-ingest:")
    }
    assert root == {"nginx"}


# Every secret that a container holds, by its name in production.env.
SECRETS = {
    "nginx": set(),
    "api": {"MYSQL_API_PASSWORD", "REDIS_API_PASSWORD"},
    "worker": {"MYSQL_WORKER_PASSWORD", "REDIS_WORKER_PASSWORD"},
    "beat": {"REDIS_WORKER_PASSWORD"},
    "flower": {"REDIS_FLOWER_PASSWORD", "LEADS_FLOWER_PASSWORD"},
    "migrate": {
        "MYSQL_MIGRATE_PASSWORD",
        "REDIS_MIGRATE_PASSWORD",
        "LEADS_FIRST_PASSWORD",
        "LEADS_FLOWER_PASSWORD",
        "GRAFANA_PASSWORD",
    },
    "mysql": {"MYSQL_ROOT_PASSWORD"},
    "redis": {
        "REDIS_PASSWORD",
        "REDIS_API_PASSWORD",
        "REDIS_WORKER_PASSWORD",
        "REDIS_FLOWER_PASSWORD",
        "REDIS_MIGRATE_PASSWORD",
    },
    "prometheus": set(),
    "alertmanager": set(),
    "grafana": {"GRAFANA_PASSWORD"},
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_holds_its_own_secrets_alone(name: str):
    assert set(re.findall(r"\$\{(\w*PASSWORD\w*)", str(SERVICES[name]))) == SECRETS[name]


@pytest.mark.parametrize(
    ("name", "room", "not_its"), [("api", "ingest_api", ""), ("worker", "workers", "flower"), ("beat", "", "")]
)
def test_a_service_gets_the_settings_that_its_code_reads(name: str, room: str, not_its: str):
    files = (COMPOSE.parent / room).rglob("*.py") if room else ()
    read = {found for file in files for found in re.findall(r"\bsettings\.([a-z_]+)", file.read_text())}
    names = {variable(each) for each in read if not (not_its and each.startswith(not_its))}

    assert (names & VARIABLES) - FIXED <= SERVICES[name]["environment"].keys()
    assert not {each for each in SERVICES[name]["environment"] if each.startswith("LEADS_FIRST_")}


def test_the_rights_of_workers_are_said_for_each_table():
    grants = (PRODUCTION / "mysql" / "grants.sql").read_text()
    named = set(re.findall(r"^GRANT SELECT\b[A-Z, ]* ON leads\.(\w+) TO leads_worker;$", grants, re.MULTILINE))

    assert named == set(metadata.tables) - {"users", "sources", "source_keys"}
    assert not re.search(r"ON leads\.(\*|users|alembic_version) TO leads_worker", grants)


def test_each_key_has_the_prefix_that_the_users_of_redis_are_let_to():
    users = redis_users(dict.fromkeys(SECRETS["redis"], "x"))

    assert all(name.startswith("leads:") for name, *_ in keys.DOCUMENTED)
    assert {name for name, rules in users.items() if "~leads:*" in rules} == {"api", "worker", "migrate"}
    assert {name for name, rules in users.items() if "~*" in rules or "+@all" in rules} == {"default"}


def test_a_build_adds_the_secrets_that_an_earlier_release_had_not(tmp_path: Path):
    given = "MYSQL_ROOT_PASSWORD=a\nMYSQL_PASSWORD=b\nREDIS_PASSWORD=c\nGRAFANA_PASSWORD=d\n"
    file = tmp_path / "compose" / "production.env"

    first_build(tmp_path, existing=given)
    before = file.read_text()
    build(tmp_path)

    assert before.startswith(given)
    lines = dict(line.split("=") for line in before.splitlines())
    new = {name: value for name, value in lines.items() if name not in given}
    assert new.keys() == {
        *(f"MYSQL_{name}_PASSWORD" for name in ("API", "WORKER", "MIGRATE")),
        *(f"REDIS_{name}_PASSWORD" for name in ("API", "WORKER", "FLOWER", "MIGRATE")),
    }
    assert len(set(new.values())) == len(new)
    assert all(len(value) == 40 for value in new.values())
    assert file.stat().st_mode & 0o077 == 0
    assert file.read_text() == before


def test_every_setting_is_passed_on_or_fixed_by_the_container():
    passed = {
        name
        for service in SERVICES.values()
        for name in service.get("environment", {})
        # LEADS_PUBLIC_...: what nginx lets in, which is no setting of the application's.
        if name.startswith("LEADS_") and not name.startswith("LEADS_PUBLIC_")
    }

    assert passed == VARIABLES - FIXED


def test_no_secret_has_a_default():
    text = (PRODUCTION / "compose.yml").read_text()

    for secret in re.findall(r"\$\{(\w*PASSWORD\w*)(:?[^}]*)\}", text):
        assert secret[1].startswith(":?"), secret


@pytest.mark.parametrize(
    ("arguments", "image"),
    [
        (["PYTHON=3.13"], "python:3.13-slim-trixie"),
        (["PYTHON=python3.13"], "python:3.13-slim-trixie"),
        (["PYTHON=registry.example.com/python:3.13"], "registry.example.com/python:3.13"),
        ([], None),
    ],
)
def test_make_build_takes_another_python(tmp_path: Path, arguments: list[str], image: str | None):
    # The variable of the environment is that of the virtual environment.
    asked = first_build(tmp_path, *arguments, PYTHON="python3")

    assert [word for word in asked if word.startswith("PYTHON=")] == ([f"PYTHON={image}"] if image else [])


def test_what_is_set_at_the_first_build_stays_set(tmp_path: Path):
    given = {"LEADS_PUBLIC_HOST": "127.0.0.1", "LEADS_PUBLIC_PORT": "8888", "LEADS_TLS": "1", "MYSQL_MEMORY": "4g"}

    first_build(tmp_path, **given)

    lines = (tmp_path / "compose" / "production.env").read_text().splitlines()
    assert {f"{name}={value}" for name, value in given.items()} <= set(lines)
    names = [line.partition("=")[0] for line in lines if not line.startswith("#")]
    assert len(names) == len(set(names))


def first_build(directory: Path, *arguments: str, existing: str = "", **environment: str) -> list[str]:
    """Run `make build` with a Docker that fails when it shall build; return what that was asked for."""
    ignored = shutil.ignore_patterns("*.env", "backups", "tls")
    shutil.copytree(COMPOSE, directory / "compose", ignore=ignored)
    if existing:
        (directory / "compose" / "production.env").write_text(existing)
    shutil.copy(COMPOSE.parent / "Makefile", directory)
    docker = directory / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        f'#!/bin/sh\ncase $1 in\nbuild) echo "$@" >{directory}/asked; exit 1 ;;\nvolume) exit 1 ;;\nesac\n'
    )
    docker.chmod(0o755)
    return build(directory, *arguments, **environment)


def build(directory: Path, *arguments: str, **environment: str) -> list[str]:
    """Run `make build` there; return what Docker was asked for."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    inherited["PATH"] = f"{directory / 'bin'}:{inherited['PATH']}"

    command = ["make", "build", *arguments]
    subprocess.run(command, cwd=directory, env={**inherited, **environment}, capture_output=True, timeout=60)

    return (directory / "asked").read_text().split()
