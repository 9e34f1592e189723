"""compose/production/swarm: the stack file that it makes of the compose files."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.swarm_installation import Installation


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The stack file of an installation without settings of its own."""
    return with_compose(tmp_path_factory.mktemp("installation")).stack()


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation whose stack file is made by the machine's Compose."""
    return with_compose(tmp_path)


def with_compose(directory: Path) -> Installation:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    return Installation(directory, real_compose=True)


def test_no_secret_is_in_the_stack_file(installation: Installation):
    installation.set(LEADS_DATABASE_READ_URL="mysql+pymysql://leads_api:00-of-those-secrets@replica:3306/leads")

    text = installation.run("config")

    assert not [secret for secret in installation.secrets.values() if secret in text]
    assert "database-read-url" in text


def test_a_task_gets_its_own_secrets_alone(stack: dict[str, Any]):
    got = {name: {each["source"] for each in service.get("secrets", ())} for name, service in stack["services"].items()}

    assert got == {
        "nginx": set(),
        "api": {"api-redis-url", "api-database-url", "jwt-private.pem"},
        "worker": {"worker-redis-url", "worker-database-url"},
        "beat": {"worker-redis-url"},
        "flower": {"flower-redis-url", "LEADS_FLOWER_PASSWORD"},
        "migrate": {
            "migrate-redis-url",
            "migrate-database-url",
            "jwt-private.pem",
            "LEADS_FIRST_PASSWORD",
            "LEADS_FLOWER_PASSWORD",
        },
        "accounts": {f"MYSQL_{each}_PASSWORD" for each in ("ROOT", "API", "WORKER", "MIGRATE")},
        "mysql": {"MYSQL_ROOT_PASSWORD"},
        "redis": {
            "REDIS_PASSWORD",
            *(f"REDIS_{each}_PASSWORD" for each in ("API", "WORKER", "FLOWER", "MIGRATE")),
        },
    }


def test_nothing_is_mounted_from_a_host_or_published_by_the_routing_mesh(stack: dict[str, Any]):
    services = stack["services"]

    mounts = [each for service in services.values() for each in service.get("volumes", ())]
    assert {each["type"] for each in mounts} == {"volume", "tmpfs"}
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports.keys() == {"nginx"}
    assert [(each["target"], each["published"], each["mode"]) for each in ports["nginx"]] == [(8080, 8080, "host")]
    assert {service["deploy"]["endpoint_mode"] for service in services.values()} == {"dnsrr"}


def test_what_may_be_there_twice_is_started_before_the_old_one_ends(stack: dict[str, Any]):
    services = stack["services"]

    updates = {name: each["deploy"].get("update_config") for name, each in services.items()}
    jobs = {name for name, update in updates.items() if update is None}
    assert jobs == {"migrate", "accounts"}
    assert {services[name]["deploy"]["restart_policy"]["condition"] for name in jobs} == {"none"}
    first = {name for name, update in updates.items() if update and update["order"] == "start-first"}
    assert first == {"api", "worker", "flower"}
    assert {update["failure_action"] for update in updates.values() if update} == {"rollback"}
    assert services["beat"]["deploy"]["replicas"] == 1


def test_a_task_is_bounded_and_stays_with_its_volume(stack: dict[str, Any]):
    services = stack["services"]

    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"], name
        assert limits["pids"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"], name
        volumes = {each["source"] for each in service.get("volumes", ()) if each["type"] == "volume"}
        (constraint,) = service["deploy"]["placement"]["constraints"]
        kept = next((each for each in ("mysql", "redis") if any(each in volume for volume in volumes)), "host")
        assert constraint == f"node.labels.lead-ingest.{kept} == yes", name


def test_a_server_that_loads_its_data_is_not_killed_for_it(stack: dict[str, Any]):
    services = stack["services"]

    assert {services[name]["healthcheck"]["start_period"] for name in ("mysql", "redis")} == {"1h0m0s"}
    assert services["migrate"]["healthcheck"] == {"disable": True}


def test_a_changed_secret_or_file_has_another_name(installation: Installation):
    def names(stack: dict[str, Any]) -> dict[str, str]:
        return {name: each["name"] for kind in ("secrets", "configs") for name, each in stack[kind].items()}

    before = names(installation.stack())
    installation.set(REDIS_API_PASSWORD="another-of-the-secrets")
    site = installation.directory / "compose" / "production" / "nginx" / "site.conf"
    site.write_text(site.read_text() + "\n")
    after = names(installation.stack())

    installation.set(MYSQL_ROOT_PASSWORD="another-one-of-roots")
    roots = names(installation.stack())

    assert {name for name in after if after[name] != roots[name]} == {"MYSQL_ROOT_PASSWORD"}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"REDIS_API_PASSWORD", "api-redis-url", "nginx-site.conf"}
    assert max(map(len, after.values())) <= 64


def test_further_keys_are_accepted_beside_the_own(installation: Installation):
    installation.stack()
    keys = installation.directory / "compose" / "keys"
    shutil.copy(keys / "jwt-public.pem", keys / "accepted" / "next.pem")

    configs = installation.stack()["services"]["api"]["configs"]

    targets = {each["target"] for each in configs}
    assert targets == {"/etc/lead-ingest/keys/jwt-public.pem", "/etc/lead-ingest/keys/next.pem"}
    assert (keys / "jwt-private.pem").stat().st_mode & 0o077 == 0


def test_with_tls_the_certificate_is_a_config_and_its_key_a_secret(installation: Installation):
    tls = installation.directory / "compose" / "tls"
    tls.mkdir()
    for name in ("fullchain.pem", "privkey.pem"):
        (tls / name).write_text(f"{name}\n")
    installation.set(LEADS_TLS="1")

    nginx = installation.stack()["services"]["nginx"]

    assert [(each["target"], each["mode"]) for each in nginx["secrets"]] == [("/etc/nginx/tls/privkey.pem", 0o400)]
    assert "/etc/nginx/tls/fullchain.pem" in [each["target"] for each in nginx["configs"]]
    assert [each["published"] for each in nginx["ports"]] == [8080, 8443]


def test_a_file_of_ones_own_is_merged_last(installation: Installation):
    own = {"services": {"flower": {"ports": [{"target": 5555, "published": "5555", "mode": "host"}]}}}
    (installation.directory / "compose" / "stack.yml").write_text(yaml.safe_dump(own))

    assert installation.stack()["services"]["flower"]["ports"][0]["published"] == 5555


def test_what_compose_refuses_is_no_stack(installation: Installation):
    (installation.directory / "compose" / "stack.yml").write_text("services: [api]")

    assert installation.run("config") == ""


def test_the_stack_file_is_one_for_old_clients_and_of_new_composes(tmp_path: Path):
    composed = 'name: leads\nservices:\n  api: {}\n  of:\n    cpus: 0.5\n    mode: "0400"\n    published: "8080"'

    text = Installation(tmp_path).run("config", COMPOSED=composed)

    assert text.splitlines()[0] == 'version: "3.9"'
    wanted = {"cpus": "0.5", "mode": 0o400, "published": 8080}
    assert yaml.safe_load(text) == {"version": "3.9", "services": {"api": {}, "of": wanted}}
