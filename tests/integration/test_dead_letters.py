"""Dead letters and `python -m workers dead-letters`: looked at, replayed once, dropped for good."""

import re

import pytest
from click.testing import CliRunner, Result

from schema.lead import lead_id
from schema.ledger import read_ledger
from schema.queue import keys
from schema.queue.dead_letters import DeadLetters
from tests.integration.backends import POISON, Backend, fields_of
from tests.integration.workers import Worker
from workers.cli import main


@pytest.fixture
def dead(backend: Backend) -> list[bytes]:
    """The ids of three leads that the database refused; one other is stored."""
    backend.refuse(POISON)
    names = [POISON, "Ada", POISON, POISON]
    ids = backend.accept_all([fields_of(number, firstName=name) for number, name in enumerate(names)])
    Worker(backend).run()
    return [each for each, name in zip(ids, names, strict=True) if name == POISON]


def run(backend: Backend, *arguments: str, **options: str) -> Result:
    """Run a command of `python -m workers dead-letters`."""
    environment = {"LEADS_REDIS_URL": backend.settings.redis_url, "LEADS_DATABASE_URL": backend.settings.database_url}
    return CliRunner(env=environment).invoke(main, ["dead-letters", *arguments], catch_exceptions=False, **options)


def names(backend: Backend) -> list[str]:
    return [letter.name for letter in DeadLetters(backend.shards)]


def off(backend: Backend) -> int:
    """Return by how many leads the ledger is off."""
    with backend.engine.connect() as connection:
        return read_ledger(connection, backend.shards).imbalance


def test_the_list_shows_name_id_and_reason_and_nothing_personal(backend: Backend, dead: list[bytes]):
    result = run(backend, "list")

    lines = result.output.splitlines()
    assert result.exit_code == 0
    assert [line.split("\t")[0] for line in lines] == names(backend)
    assert [line.split("\t")[2] for line in lines] == [lead_id.to_text(each) for each in dead]
    assert all(re.search(r"Error (1644|SQLITE_CONSTRAINT_TRIGGER)$", line) for line in lines)
    for personal in (POISON, "Lovelace", "example.com", "442071234567", "1990-12-10"):
        assert personal not in result.output


def test_one_letter_is_shown_whole(backend: Backend, dead: list[bytes]):
    result = run(backend, "show", names(backend)[1])

    assert result.exit_code == 0
    assert "reason: " in result.output
    assert lead_id.to_text(dead[1]) in result.output
    assert "Lovelace" in result.output


@pytest.mark.parametrize("name", ["1-1", "-", "+", "nonsense", "1-1-1", "99999999999999999999-0", "x' OR 1"])
@pytest.mark.parametrize("command", ["show", "replay", "drop"])
def test_a_letter_that_is_not_there_is_one_line_of_error(backend: Backend, command: str, name: str):
    result = run(backend, command, "--", name, input="y\n")

    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == f"Error: there is no dead letter {name}"


def test_replayed_leads_are_stored_once_the_cause_is_mended(backend: Backend, dead: list[bytes]):
    backend.stop_refusing()

    result = run(backend, "replay", "--all")
    Worker(backend).run()

    assert result.output == "3 back in the queue.\n"
    assert backend.stored() >= set(dead)
    assert (backend.dead(), backend.waiting()) == ({}, 0)
    assert not backend.client.exists(keys.INDEX)
    backend.assert_counted()


def test_a_letter_replayed_by_two_at_once_is_in_the_queue_once(backend: Backend, dead: list[bytes]):
    backend.stop_refusing()
    letters = DeadLetters(backend.shards)
    letter = next(iter(letters))

    assert [letters.replay(letter), letters.replay(letter)] == [True, False]

    assert backend.waiting() == 1
    assert backend.client.hget(keys.INDEX, dead[0]) == backend.client.xrange(keys.STREAM)[0][0]
    Worker(backend).run()
    assert dead[0] in backend.stored()


def test_a_replayed_lead_is_in_the_queue_as_it_was_accepted(backend: Backend):
    backend.refuse(POISON)
    backend.accept(1, firstName=POISON)
    [(_, accepted)] = backend.client.xrange(keys.STREAM)
    Worker(backend).run()

    run(backend, "replay", "--all")

    [(_, replayed)] = backend.client.xrange(keys.STREAM)
    assert replayed == accepted


def test_a_letter_whose_lead_is_stored_already_is_not_stored_again(backend: Backend, dead: list[bytes]):
    backend.stop_refusing()
    run(backend, "replay", "--all")
    entries = backend.client.xrange(keys.STREAM)
    Worker(backend).run()
    for _, fields in entries:
        backend.client.xadd(keys.DEAD, {"reason": "by hand", **fields})

    run(backend, "replay", "--all")
    outcome = Worker(backend).run()

    assert outcome == {"stored": 0, "duplicates": 3, "dead": 0}
    backend.assert_counted()


def test_a_letter_replayed_before_the_cause_is_mended_is_dead_again(backend: Backend, dead: list[bytes]):
    run(backend, "replay", names(backend)[0])
    Worker(backend).run()

    assert set(backend.dead()) == set(dead)
    assert off(backend) == 0


def test_dropped_letters_are_gone_and_the_ledger_balances(backend: Backend, dead: list[bytes]):
    first, *_ = names(backend)

    assert run(backend, "drop", first, input="n\n").exit_code == 1
    assert len(backend.dead()) == 3
    assert run(backend, "drop", first, "--yes").output == "1 deleted.\n"

    assert set(backend.dead()) == set(dead[1:])
    assert not backend.client.hexists(keys.INDEX, dead[0])
    assert off(backend) == 0
    assert run(backend, "drop", "--all", "--yes").output == "2 deleted.\n"
    assert (backend.dead(), off(backend)) == ({}, 0)


def test_a_letter_that_another_replayed_meanwhile_is_not_dropped(backend: Backend, dead: list[bytes]):
    letters = DeadLetters(backend.shards)
    letter = next(iter(letters))
    letters.replay(letter)

    with backend.engine.connect() as connection:
        assert not letters.drop(letter, connection)

    backend.stop_refusing()
    Worker(backend).run()
    assert dead[0] in backend.stored()
    assert off(backend) == 0


@pytest.mark.parametrize("arguments", [["replay"], ["drop", "--yes"], ["replay", "1-1", "--all"]])
def test_one_letter_or_all_must_be_named(backend: Backend, arguments: list[str]):
    result = run(backend, *arguments)

    assert result.exit_code == 2
    assert "Name one LETTER, or say --all." in result.output


def test_a_letter_that_holds_no_lead_can_be_listed_replayed_and_dropped(backend: Backend):
    backend.client.xadd(keys.STREAM, {"lead": "garbage"})
    Worker(backend).run()

    assert "\t-\tnot JSON" in run(backend, "list").output
    assert run(backend, "replay", "--all").output == "1 back in the queue.\n"
    Worker(backend).run()
    assert backend.dead() == {None: "not JSON"}
    assert run(backend, "drop", "--all", "--yes").output == "1 deleted.\n"


def test_all_of_many_letters_are_walked(backend: Backend):
    with backend.client.pipeline() as pipeline:
        for number in range(1200):
            pipeline.xadd(keys.DEAD, {"reason": "x", "lead": str(number)})
        pipeline.execute()

    assert [int(letter.payload) for letter in DeadLetters(backend.shards)] == list(range(1200))


@pytest.mark.destructive("queue")
def test_a_queue_that_is_away_is_one_line_of_error(backend: Backend):
    backend.queue.kill()
    try:
        result = run(backend, "list")
    finally:
        backend.queue.start()

    assert result.exit_code == 1
    assert re.fullmatch(r"Error: the queue does not answer: \w+\n", result.output)


def test_the_ledger_command_says_whether_all_accepted_leads_are_somewhere(backend: Backend, dead: list[bytes]):
    environment = {"LEADS_REDIS_URL": backend.settings.redis_url, "LEADS_DATABASE_URL": backend.settings.database_url}
    runner = CliRunner(env=environment)

    # Given four accepted leads, of which one is stored and three are dead
    balanced = runner.invoke(main, ["ledger", "--timeout", "0"])
    assert balanced.exit_code == 0, balanced.output
    assert "Balanced" in balanced.output

    # When a dead letter is lost behind everybody's back
    backend.client.xdel(keys.DEAD, names(backend)[0])

    off_by_one = runner.invoke(main, ["ledger", "--timeout", "0"])
    assert off_by_one.exit_code == 1
    assert "Off: 1 accepted leads are nowhere." in off_by_one.output
