"""compose/production/swarm: the stack file that it makes of the compose files, and the order in which it deploys."""

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]

# A Docker in which every node, secret and service is there and well; Compose is the real one.
DOCKER = r"""#!/bin/sh
case "$*" in
compose*) [ -n "${REAL_DOCKER:-}" ] && exec "$REAL_DOCKER" "$@"; echo "${COMPOSED:-}"; echo "$*" >>"$ASKED"; exit ;;
"stack deploy"* | build*) cat >/dev/null ;;
run*) cat >>"$ASKED" ;;
"image inspect"*) echo sha256:0123456789abcdef ;;
"volume inspect"*) exit 1 ;;
"service inspect"*TaskTemplate*) echo described ;;
"service inspect"*UpdateStatus*)
    [ "$(grep -c UpdateStatus "$ASKED")" -ge "${UPDATING:-0}" ] || UPDATE=updating
    echo "${UPDATE:-completed}"
    ;;
"service inspect"*Replicas*) echo "${WORKER_REPLICAS:-2}" ;;
"service inspect"*_api) [ -n "${DEPLOYED:-}" ] || exit 1 ;;
"service ps"*CurrentState*) echo "Complete 1 second ago" ;;
"service ps"*_worker | "service ps"*_beat) [ -n "${STOPPED:-}" ] || echo task ;;
"service ps"*) echo task ;;
"inspect --type task"*Args*) echo running described ;;
"service ls"*) echo "$*" | sed -n 's/.*--filter name=\([^ ]*\) .*/\1 1\/1/p' ;;
"node ls"*) echo ${LABELLED-node1} ;;
esac
echo "$*" >>"$ASKED"
"""


class Installation:
    """A copy of compose/, with a Docker that notes what it is asked."""

    def __init__(self, directory: Path, *, real_compose: bool = False) -> None:
        ignored = shutil.ignore_patterns("*.env", "backups", "tls", "keys", "stack.yml")
        shutil.copytree(ROOT / "compose", directory / "compose", ignore=ignored)
        docker = directory / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(DOCKER)
        docker.chmod(0o755)
        self.directory = directory
        (directory / "asked").touch()
        self.file = directory / "compose" / "production.env"
        names = [f"MYSQL_{each}_PASSWORD" for each in ("ROOT", "API", "WORKER", "MIGRATE")]
        names += [f"REDIS_{each}_PASSWORD" for each in ("API", "WORKER", "FLOWER", "MIGRATE")]
        names += ["REDIS_PASSWORD", "LEADS_FIRST_PASSWORD", "LEADS_FLOWER_PASSWORD", "GRAFANA_PASSWORD"]
        self.secrets = {name: f"{number:02}-of-those-secrets" for number, name in enumerate(names)}
        self.set(**self.secrets, LEADS_FIRST_USER="ann@example.com", LEADS_FLOWER_USER="ann")
        self.set(LEADS_IMAGE="lead-ingest:0123456789ab", LEADS_PROJECT="leads")
        self._environment = {
            **os.environ,
            "PATH": f"{docker.parent}:{os.environ['PATH']}",
            "ASKED": str(directory / "asked"),
            "REAL_DOCKER": (shutil.which("docker") or "") if real_compose else "",
        }

    def set(self, **settings: str) -> None:
        """Add settings to production.env."""
        with self.file.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    def run(self, *command: str, ok: bool = True, **environment: str) -> str:
        """Run a command; return what it wrote."""
        done = subprocess.run(
            ["compose/production/swarm", *command],
            cwd=self.directory,
            env={**self._environment, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout if ok else done.stdout + done.stderr

    def stack(self) -> dict[str, Any]:
        """Return the stack file."""
        found: dict[str, Any] = yaml.safe_load(self.run("config"))
        return found

    def asked(self) -> list[str]:
        """Return what Docker was asked."""
        return (self.directory / "asked").read_text().splitlines()

    def deployed(self) -> list[str]:
        """Return the services of each step of a deployment."""
        return [line.partition(" config ")[2] for line in self.asked() if line.startswith("compose")]


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


def test_a_first_deployment_makes_the_tables_before_the_code_starts(tmp_path: Path):
    installation = Installation(tmp_path)

    installation.run("deploy", "node1", "node2")

    expected = ["mysql redis", "accounts", "migrate", "accounts", "api", "worker", "beat flower nginx"]
    assert installation.deployed() == expected
    assert "node update --label-add lead-ingest.host=yes node2" in installation.asked()


def test_an_upgrade_migrates_before_and_after_the_code_which_it_replaces_in_order(tmp_path: Path):
    installation = Installation(tmp_path)

    installation.run("deploy", DEPLOYED="yes")

    expected = ["mysql redis", "accounts", "migrate", "accounts", "api", "worker", "beat flower nginx"]
    assert installation.deployed() == [*expected, "migrate", "accounts"]


def test_a_service_that_was_rolled_back_ends_the_deployment(tmp_path: Path):
    installation = Installation(tmp_path)
    installation.set(STACK_REDIS="redis://redis.example.com:6379/0", STACK_MYSQL="mysql.example.com:3306")

    said = installation.run("deploy", ok=False, DEPLOYED="yes", UPDATE="rollback_completed")

    assert "api failed, and Swarm took it back to what it was" in said
    assert installation.deployed() == ["migrate", "api"]


def test_an_update_that_is_paused_ends_the_deployment(tmp_path: Path):
    said = Installation(tmp_path).run("deploy", ok=False, UPDATE="rollback_paused")

    assert "The update of mysql is paused" in said


def test_a_service_is_not_changed_while_swarm_updates_it(tmp_path: Path):
    installation = Installation(tmp_path)
    installation.set(STACK_REDIS="redis://redis.example.com:6379/0", STACK_MYSQL="mysql.example.com:3306")

    installation.run("deploy", UPDATING="2")

    changed = next(n for n, line in enumerate(installation.asked()) if line.endswith(" config api"))
    assert sum("UpdateStatus" in line for line in installation.asked()[:changed]) == 3


def test_a_service_may_have_no_task(tmp_path: Path):
    installation = Installation(tmp_path)

    installation.run("deploy", WORKER_REPLICAS="0", STOPPED="yes")

    assert installation.deployed()[-1] == "beat flower nginx"


def test_redis_and_mysql_may_be_elsewhere(tmp_path: Path):
    installation = Installation(tmp_path)
    installation.set(STACK_REDIS="redis+sentinel://s1,s2,s3/leads", STACK_MYSQL="router:6446")

    installation.run("deploy")

    assert installation.deployed() == ["migrate", "api", "worker", "beat flower nginx"]


def test_the_numbers_of_tasks_are_kept(tmp_path: Path):
    installation = Installation(tmp_path)

    installation.run("scale", "api=3", "worker=4")

    # What runs stays: the image may be one that is not deployed yet.
    assert installation.deployed() == []
    scaled = [each for each in installation.asked() if each.startswith("service scale")]
    assert scaled == ["service scale --detach leads_api=3", "service scale --detach leads_worker=4"]
    assert {"API_REPLICAS=3", "WORKER_REPLICAS=4"} <= set(installation.file.read_text().splitlines())
    for wrong in ("api=0", "api=many", "beat=2"):
        installation.run("scale", wrong, ok=False)


def test_without_a_host_nothing_is_deployed(tmp_path: Path):
    installation = Installation(tmp_path)

    said = installation.run("deploy", ok=False, LABELLED="")

    assert 'make stack HOSTS="NODE NODE NODE"' in said
    assert installation.deployed() == []


def test_mysqls_port_may_be_left_out(tmp_path: Path):
    installation = Installation(tmp_path)
    installation.set(STACK_MYSQL="mysql.example.com")

    installation.run("sql")

    assert "--host mysql.example.com --port 3306" in installation.asked()[0]


def test_the_stack_file_is_one_for_old_clients_and_of_new_composes(tmp_path: Path):
    composed = 'name: leads\nservices:\n  api: {}\n  of:\n    cpus: 0.5\n    mode: "0400"\n    published: "8080"'

    text = Installation(tmp_path).run("config", COMPOSED=composed)

    assert text.splitlines()[0] == 'version: "3.9"'
    wanted = {"cpus": "0.5", "mode": 0o400, "published": 8080}
    assert yaml.safe_load(text) == {"version": "3.9", "services": {"api": {}, "of": wanted}}


def test_a_registry_is_kept(tmp_path: Path):
    installation = Installation(tmp_path)

    installation.run("image", LEADS_REGISTRY="registry.example.com")

    assert "push --quiet registry.example.com/lead-ingest:0123456789ab" in installation.asked()
    kept = {"LEADS_REGISTRY=registry.example.com", "LEADS_IMAGE=registry.example.com/lead-ingest:0123456789ab"}
    assert kept <= set(installation.file.read_text().splitlines())


def test_another_clone_makes_no_new_secrets_for_what_runs(tmp_path: Path):
    installation = Installation(tmp_path)
    installation.file.unlink()

    said = installation.run("image", ok=False, DEPLOYED="yes")

    assert "its secrets are not here" in said
    assert not installation.file.exists()


def test_names_fit_into_swarms(tmp_path: Path):
    installation = Installation(tmp_path)

    assert "20 characters" in installation.run("deploy", ok=False, LEADS_PROJECT="a-project-of-so-many-letters")
    assert installation.deployed() == []


@pytest.mark.parametrize("wrong", ["it's", 'a"quote', "back\\slash", "two words", "a#comment", "$HOME", "`id`"])
def test_a_password_that_the_file_cannot_hold_is_refused(tmp_path: Path, wrong: str):
    installation = Installation(tmp_path)
    installation.set(LEADS_FIRST_PASSWORD=wrong)

    assert "LEADS_FIRST_PASSWORD" in installation.run("deploy", ok=False)
    assert installation.deployed() == []


DUMP = "CREATE TABLE leads (id int);\n-- Dump completed on 2026-11-30\n"


def test_a_backup_is_loaded_into_a_mysql_that_may_be_new(tmp_path: Path):
    installation = Installation(tmp_path)
    (tmp_path / "leads.sql.gz").write_bytes(gzip.compress(DUMP.encode()))

    installation.run("restore", "leads.sql.gz", YES="1", STOPPED="yes")

    assert installation.deployed() == ["mysql", "accounts"]
    *_, dropped, table, end, client = installation.asked()
    assert dropped.startswith("DROP DATABASE leads; CREATE DATABASE leads")
    assert [table, end] == DUMP.splitlines()
    assert "--user leads_migrate" in client


@pytest.mark.parametrize(
    ("content", "given", "reason"),
    [
        (gzip.compress(DUMP.encode()), {"YES": "1"}, "service scale leads_worker=0 leads_beat=0"),
        (gzip.compress(DUMP.encode()), {"STOPPED": "yes"}, "Nothing was changed"),
        (gzip.compress(DUMP.encode())[:-8], {"YES": "1", "STOPPED": "yes"}, "is not a whole backup"),
        (gzip.compress(b"CREATE TABLE leads"), {"YES": "1", "STOPPED": "yes"}, "is not a whole backup"),
    ],
    ids=["workers run", "not wanted", "a part of a file", "a part of a dump"],
)
def test_a_restore_that_may_not_be_changes_nothing(tmp_path: Path, content: bytes, given: dict[str, str], reason: str):
    installation = Installation(tmp_path)
    (tmp_path / "leads.sql.gz").write_bytes(content)

    assert reason in installation.run("restore", "leads.sql.gz", ok=False, **given)
    assert not [each for each in installation.asked() if each.startswith(("run", "compose"))]


def test_a_secret_that_is_missing_stops_the_deployment(tmp_path: Path):
    installation = Installation(tmp_path)
    text = installation.file.read_text()
    installation.file.write_text(re.sub(r"REDIS_API_PASSWORD=.*\n", "", text))

    said = installation.run("deploy", ok=False)

    assert "REDIS_API_PASSWORD" in said
    assert installation.deployed() == []
