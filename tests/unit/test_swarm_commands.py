"""compose/production/swarm: the order in which it deploys, and what its commands ask Docker."""

import gzip
import re
from pathlib import Path

import pytest

from tests.unit.swarm_installation import Installation


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
