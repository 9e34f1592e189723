"""Backups of the started stack: made under load, restored into a new MySQL, and restores that fail."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from .stack import Stack, assert_nothing_lost, docker, sent_during

pytestmark = pytest.mark.timeout(900)

ROOT = "MYSQL_PWD=$MYSQL_ROOT_PASSWORD exec {} -u root"


def in_mysql(stack: Stack, command: str, *arguments: str) -> str:
    """Run a program of MySQL's as its root; return what it wrote."""
    (mysql,) = stack.containers("mysql")
    return docker("exec", mysql["Id"], "sh", "-c", ROOT.format(command) + ' "$@"', "sh", *arguments)


def back_up(stack: Stack) -> str:
    """Make a backup; return its path, relative to the clone."""
    return stack.make("backup").strip().splitlines()[-1]


def rewritten(stack: Stack, file: str, change: Callable[[str], str]) -> str:
    """Write a changed copy of a backup; return its path."""
    text = change(gzip.decompress((stack.directory / file).read_bytes()).decode())
    return written(stack, Path(file).name.replace("leads-", "changed-"), text)


def written(stack: Stack, name: str, text: str) -> str:
    """Write a backup; return its path."""
    path = stack.directory / "compose" / "backups" / name
    path.write_bytes(gzip.compress(text.encode()))
    return str(path)


def test_a_backup_brings_back_what_was_deleted(stack: Stack):
    made = stack.accept()
    stack.wait_until_drained()
    file = back_up(stack)
    in_mysql(stack, "mysql", "-e", "DELETE FROM leads", "leads")
    assert stack.get("/api/leads").json()["data"]["items"] == []

    stack.make("restore", f"FILE={file}", "YES=1")

    assert made in stack.stored()
    assert (stack.wait_until_drained())["imbalance"] == 0
    assert "leads_" not in in_mysql(stack, "mysql", "-e", "SHOW DATABASES")


def test_a_backup_made_under_load_is_restored_into_a_new_mysql(stack: Stack):
    # Given a backup that was made while leads came in
    files: list[str] = []
    seen = sent_during(stack, lambda: files.append(back_up(stack)))
    assert_nothing_lost(stack, seen)
    before = stack.stored()

    # When MySQL is lost with its volume, and another one is given the backup
    stack.make("stop")
    docker("rm", *(each["Id"] for each in stack.containers("mysql")))
    docker("volume", "rm", f"{stack.settings['LEADS_PROJECT']}_mysql")
    said = stack.make("restore", f"FILE={files[0]}", "YES=1")

    # Then each lead of the backup is there once, the counts are those of the rows, and the ledger names what is gone
    stored = stack.stored()
    assert (
        len(stored) == len(set(stored)) == int(in_mysql(stack, "mysql", "-Ne", "SELECT COUNT(*) FROM leads", "leads"))
    )
    assert 0 < len(stored) < len(before)
    assert set(stored) < set(before)
    ledger = stack.wait_until_drained()
    assert ledger["stored"] == len(stored)
    assert ledger["imbalance"] == len(before) - len(stored)
    assert f"Off: {ledger['imbalance']} accepted leads are nowhere" in said
    docker("exec", stack.containers("api")[0]["Id"], "python", "-m", "schema", "counts")

    # And the service goes on
    seen = sent_during(stack, lambda: None)
    assert stack.wait_until_drained()["imbalance"] == ledger["imbalance"]
    assert set(seen.ids) <= set(stack.stored())


def test_a_backup_with_the_gtids_of_its_server_is_restored(stack: Stack):
    # As `make backup` made them before it left the GTIDs out.
    made = stack.accept()
    stack.wait_until_drained()
    dump = in_mysql(stack, "mysqldump", "--set-gtid-purged=ON", "--single-transaction", "--hex-blob", "leads")
    assert "GTID_PURGED" in dump
    several = dump.replace("GTID_PURGED=/*!80000 '+'*/ '", "GTID_PURGED=/*!80000 '+'*/ '0-0-0-0-0:1,\n")
    before = stack.stored()

    for text in (dump, several):
        stack.make("restore", f"FILE={written(stack, 'with-gtids.sql.gz', text)}", "YES=1")

        assert made in before == stack.stored()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda dump: dump.replace("UNLOCK TABLES;", "UNLOCK TABLES; nonsense;", 1), "near 'nonsense'"),
        (lambda dump: dump.rpartition("-- Dump completed")[0], "is not a whole backup"),
        # Such as one of a later release.
        (lambda dump: dump + "UPDATE alembic_version SET version_num = 'later';\n-- Dump completed\n", "later"),
    ],
    ids=["refused by MySQL", "cut short", "of another release"],
)
def test_a_restore_that_fails_says_why_and_the_service_goes_on(stack: Stack, change: Callable[[str], str], reason: str):
    file = rewritten(stack, back_up(stack), change)
    made = stack.accept()
    before = stack.wait_until_drained()

    said = stack.make("restore", f"FILE={file}", "YES=1", ok=False)

    assert reason in said
    assert "leads_restored" not in in_mysql(stack, "mysql", "-e", "SHOW DATABASES")
    assert stack.wait_until_drained() == before
    assert made in stack.stored()
    for service in ("api", "worker", "beat"):
        assert stack.healthy(service)
    stack.accept()
    assert stack.wait_until_drained()["stored"] == before["stored"] + 1
