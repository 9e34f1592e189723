"""ingest_api.auth.users and `python -m ingest_api user`: who may log in."""

import argon2
import pytest
from click.testing import CliRunner, Result
from marshmallow import ValidationError
from sqlalchemy import select, text, update

from ingest_api.auth import users
from ingest_api.auth.users import UserError
from ingest_api.cli import main
from schema.database.tables import users as table
from tests.integration.backends import Backend

PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def ada(backend: Backend) -> None:
    """A user who may read and ingest."""
    with backend.engine.begin() as connection:
        users.create(connection, "Ada@Example.com", PASSWORD, ["read", "ingest"])


def authenticated(backend: Backend, email: str, password: str) -> users.User | None:
    with backend.engine.connect() as connection:
        return users.authenticate(connection, email, password)


def run(backend: Backend, *arguments: str, password: str = "") -> Result:
    """Run a command of `python -m ingest_api user`, with a password on its standard input."""
    runner = CliRunner(env={"LEADS_DATABASE_URL": backend.settings.database_url})
    return runner.invoke(main, ["user", *arguments], input=password + "\n", catch_exceptions=False)


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@example.COM"])
def test_the_right_password_tells_the_user_and_the_roles(backend: Backend, email: str):
    user = authenticated(backend, email, PASSWORD)

    assert user is not None
    assert (user.email, user.roles, user.disabled) == ("ada@example.com", ["ingest", "read"], False)


@pytest.mark.parametrize(
    ("email", "password"),
    [
        *(("ada@example.com", wrong) for wrong in ("", "wrong", PASSWORD + " ", PASSWORD.upper(), "\x00")),
        *((unknown, PASSWORD) for unknown in ("", "bob@example.com", "ada@example.com ", "ada@example.com\x00", "%")),
        ("nobody@example.com", "nobody's password"),
    ],
)
def test_a_wrong_password_and_an_unknown_user_are_nobody(backend: Backend, email: str, password: str):
    assert authenticated(backend, email, password) is None


def test_the_password_is_kept_as_an_argon2id_hash(backend: Backend):
    with backend.engine.connect() as connection:
        kept = connection.execute(select(table.c.password_hash)).scalar_one()

    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept


def test_a_disabled_user_is_nobody_until_enabled_also_with_another_password(backend: Backend):
    assert authenticated(backend, "ada@example.com", PASSWORD) is not None
    with backend.engine.begin() as connection:
        users.disable(connection, "ADA@example.com")
    assert authenticated(backend, "ada@example.com", PASSWORD) is None

    with backend.engine.begin() as connection:
        users.change_password(connection, "Ada@example.com", "another password")
    assert authenticated(backend, "ada@example.com", "another password") is None

    with backend.engine.begin() as connection:
        users.enable(connection, "Ada@example.com")
    assert authenticated(backend, "ada@example.com", PASSWORD) is None
    assert authenticated(backend, "ada@example.com", "another password") is not None


@pytest.mark.parametrize(
    ("email", "password", "roles", "message"),
    [
        ("ADA@example.com", PASSWORD, ["read"], "ada@example.com exists already"),
        ("bob@example.com", "short", ["read"], "a password has 8 to 1024 characters"),
        ("bob@example.com", "x" * 1025, ["read"], "a password has 8 to 1024 characters"),
        ("bob@example.com", PASSWORD, ["root"], "roles are admin, export, ingest, read; not root"),
        ("bob@example.com", PASSWORD, [], "roles are admin, export, ingest, read"),
    ],
)
def test_a_user_who_cannot_be_made_is_told_why(
    backend: Backend, email: str, password: str, roles: list[str], message: str
):
    with backend.engine.begin() as connection, pytest.raises(UserError, match=f"^{message}$"):
        users.create(connection, email, password, roles)


def test_what_is_no_email_address_is_no_user(backend: Backend):
    with backend.engine.begin() as connection, pytest.raises(ValidationError):
        users.create(connection, "bob", PASSWORD, ["read"])


def test_the_command_makes_a_user_with_the_password_from_standard_input(backend: Backend):
    result = run(backend, "create", "Bob@example.com", "--role", "admin", "--role", "read", password="bob's password")

    assert (result.exit_code, result.output) == (0, "bob@example.com may now log in as admin, read.\n")
    user = authenticated(backend, "bob@example.com", "bob's password")
    assert user is not None
    assert user.roles == ["admin", "read"]


def test_the_commands_list_disable_and_give_another_password(backend: Backend):
    assert run(backend, "passwd", "ada@example.com", password="another password").exit_code == 0
    assert authenticated(backend, "ada@example.com", "another password") is not None
    assert run(backend, "disable", "ada@example.com").exit_code == 0
    assert authenticated(backend, "ada@example.com", "another password") is None

    output = run(backend, "list").output

    assert output.startswith("ada@example.com\tingest,read\tdisabled\t")
    assert "argon2" not in output


@pytest.mark.parametrize(
    ("arguments", "password", "message"),
    [
        (["create", "ada@example.com", "--role", "read"], PASSWORD, "Error: ada@example.com exists already"),
        (["create", "bob@example.com", "--role", "read"], "short", "Error: a password has 8 to 1024 characters"),
        (["create", "bob", "--role", "read"], PASSWORD, "Error: This value is not a valid email address"),
        (["passwd", "bob@example.com"], PASSWORD, "Error: there is no user bob@example.com"),
        (["disable", "bob@example.com"], "", "Error: there is no user bob@example.com"),
        (["enable", "bob@example.com"], "", "Error: there is no user bob@example.com"),
        (["delete", "bob@example.com"], "", "Error: there is no user bob@example.com"),
        (["roles", "bob@example.com", "--role", "read"], "", "Error: there is no user bob@example.com"),
    ],
)
def test_a_command_that_fails_says_why_in_one_line(backend: Backend, arguments: list[str], password: str, message: str):
    result = run(backend, *arguments, password=password)

    assert result.exit_code == 1
    assert result.output == message + "\n"


@pytest.mark.parametrize("command", ["create", "roles"])
def test_roles_are_given_and_never_guessed(backend: Backend, command: str):
    result = run(backend, command, "ada@example.com", password=PASSWORD)

    assert result.exit_code == 2
    assert "--role" in result.output
    assert all(role in result.output for role in users.ROLES)


def version_of(backend: Backend) -> int:
    with backend.engine.connect() as connection:
        return int(connection.execute(select(table.c.token_version)).scalar_one())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["passwd", "ADA@example.com"], "ada@example.com has a new password.\n"),
        (["disable", "ADA@example.com"], "ada@example.com can no longer log in.\n"),
        (["enable", "ADA@example.com"], "ada@example.com may log in again.\n"),
        (["roles", "ADA@example.com", "--role", "export"], "ada@example.com may now log in as export.\n"),
    ],
)
def test_each_change_of_a_user_raises_the_version_of_the_tokens(backend: Backend, arguments: list[str], said: str):
    assert version_of(backend) == 0

    result = run(backend, *arguments, password="another password")

    assert (result.exit_code, result.output) == (0, said)
    assert version_of(backend) == 1


def test_another_password_of_a_disabled_user_says_that_nobody_can_log_in(backend: Backend):
    run(backend, "disable", "ada@example.com")

    result = run(backend, "passwd", "ada@example.com", password="another password")

    assert result.output == "ada@example.com has a new password and is still disabled.\n"


def test_a_deleted_user_is_nobody_and_may_be_made_again(backend: Backend):
    assert run(backend, "delete", "ADA@example.com").output == "ada@example.com is deleted.\n"
    assert authenticated(backend, "ada@example.com", PASSWORD) is None

    assert run(backend, "create", "ada@example.com", "--role", "read", password=PASSWORD).exit_code == 0
    assert authenticated(backend, "ada@example.com", PASSWORD) is not None


def test_a_password_hashed_with_other_parameters_is_hashed_anew_and_no_token_ends(backend: Backend):
    # Given a hash with the parameters of before
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    with backend.engine.begin() as connection:
        connection.execute(update(table).values(password_hash=old))
        row = users.find(connection, "ada@example.com")
        assert row is not None
    assert users.needs_rehash(row)

    users.rehash(backend.engine, row, PASSWORD)

    with backend.engine.connect() as connection:
        new = users.find(connection, "ada@example.com")
    assert new is not None
    assert not users.needs_rehash(new)
    assert users.check(new, PASSWORD) is not None
    assert new.token_version == 0


def test_a_password_that_was_changed_meanwhile_is_not_hashed_anew(backend: Backend):
    with backend.engine.begin() as connection:
        row = users.find(connection, "ada@example.com")
        assert row is not None
        users.change_password(connection, "ada@example.com", "another password")

    users.rehash(backend.engine, row, PASSWORD)

    assert authenticated(backend, "ada@example.com", PASSWORD) is None
    assert authenticated(backend, "ada@example.com", "another password") is not None


def test_a_database_without_tables_is_one_line_of_error(backend: Backend):
    with backend.engine.begin() as connection:
        connection.execute(text("ALTER TABLE users RENAME TO users_away"))
    try:
        result = run(backend, "list")
    finally:
        with backend.engine.begin() as connection:
            connection.execute(text("ALTER TABLE users_away RENAME TO users"))

    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert result.output.startswith("Error: the database refused")
