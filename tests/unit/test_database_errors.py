"""schema.database.errors: which reaction each error number of MySQL, its clusters and its relatives calls for."""

import pymysql
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from schema.database.errors import Reaction, is_from_wrong_server, reaction_to


def error(code: int, message: str = "") -> DBAPIError:
    return OperationalError("COMMIT", None, pymysql.err.OperationalError(code, message))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (1180, "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT"),
        (3101, "Plugin instructed the server to rollback the current transaction."),
        (9007, "Write conflict, txnStartTS=1 is stale"),
        (8002, "can not retry select for update statement"),
        (8022, "Error: KV error safe to retry"),
        (8028, "Information schema is changed during the execution of the statement"),
    ],
)
def test_the_loser_of_a_conflict_runs_again(code: int, message: str):
    assert reaction_to(error(code, message)) is Reaction.RETRY


@pytest.mark.parametrize("code", [1047, 1290, 1792, 1836, 3032, 3100, 3783, 3796, 3799, 6400])
def test_a_server_that_takes_no_writes_is_left(code: int):
    assert is_from_wrong_server(pymysql.err.OperationalError(code, ""))
    assert reaction_to(error(code)) is Reaction.UNAVAILABLE


@pytest.mark.parametrize("code", [3781, 3782, 3797, 3798, 4094])
def test_a_new_primary_that_is_not_ready_is_tried_later(code: int):
    assert reaction_to(error(code)) is Reaction.UNAVAILABLE
    assert not is_from_wrong_server(pymysql.err.OperationalError(code, ""))


@pytest.mark.parametrize("code", [9001, 9002, 9003, 9004, 9005])
def test_a_cluster_that_does_not_answer_is_away(code: int):
    assert reaction_to(error(code)) is Reaction.UNAVAILABLE


@pytest.mark.parametrize(
    "message", ["Got error 28 - 'No space left on device' during COMMIT", "Got error 1490 during COMMIT"]
)
def test_a_commit_that_failed_for_another_reason_is_tried_later(message: str):
    assert reaction_to(error(1180, message)) is Reaction.UNAVAILABLE
