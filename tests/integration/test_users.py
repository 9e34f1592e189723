"""ingest_api.auth.users and `python -m ingest_api user`: who may log in."""

import pytest
from click.testing import CliRunner, Result
from marshmallow import ValidationError
from sqlalchemy import select, text

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


def test_a_disabled_user_is_nobody_until_there_is_another_password(backend: Backend):
    assert authenticated(backend, "ada@example.com", PASSWORD) is not None
    with backend.engine.begin() as connection:
        users.disable(connection, "ADA@example.com")
    assert authenticated(backend, "ada@example.com", PASSWORD) is None

    with backend.engine.begin() as connection:
        users.change_password(connection, "Ada@example.com", "another password")
    assert authenticated(backend, "ada@example.com", PASSWORD) is None
    assert authenticated(backend, "ada@example.com", "another password") is not None


@pytest.mark.parametrize(
    ("email", "password", "roles", "message"),
    [
        ("ADA@example.com", PASSWORD, ["read"], "ada@example.com exists already"),
        ("bob@example.com", "short", ["read"], "a password has 8 to 1024 characters"),
        ("bob@example.com", "x" * 1025, ["read"], "a password has 8 to 1024 characters"),
        ("bob@example.com", PASSWORD, ["root"], "roles are admin, ingest, read; not root"),
        ("bob@example.com", PASSWORD, [], "roles are admin, ingest, read"),
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
        (["create", "ada@example.com"], PASSWORD, "Error: ada@example.com exists already"),
        (["create", "bob@example.com"], "short", "Error: a password has 8 to 1024 characters"),
        (["create", "bob"], PASSWORD, "Error: This value is not a valid email address"),
        (["passwd", "bob@example.com"], PASSWORD, "Error: there is no user bob@example.com"),
        (["disable", "bob@example.com"], "", "Error: there is no user bob@example.com"),
    ],
)
def test_a_command_that_fails_says_why_in_one_line(backend: Backend, arguments: list[str], password: str, message: str):
    result = run(backend, *arguments, password=password)

    assert result.exit_code == 1
    assert result.output == message + "\n"


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
