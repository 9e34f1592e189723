"""Users: log-in, roles, and changes. Passwords are stored as argon2id hashes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import argon2
from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from schema.database.tables import users
from schema.lead.rules import Email

ROLES = ("admin", "ingest", "read")

PASSWORD_MIN = 8  # characters, NIST SP 800-63B section 5.1.1.2
PASSWORD_MAX = 1024  # characters; bounds the time of hashing

# OWASP's password storage cheat sheet: argon2id with 19 MiB, 2 passes, 1 lane.
_hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

# Verified when the user does not exist, so that the response time does not tell whether one does.
_NOBODY = _hasher.hash("nobody's password")


class UserError(Exception):
    """A user cannot be made or changed as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class User:
    """A user without the password."""

    email: str
    roles: list[str]
    disabled: bool
    created_at: datetime  # UTC, naive


def authenticate(connection: Connection, email: str, password: str) -> User | None:
    """Return the user, or None when the address or password is wrong or the user is disabled.

    Every failure takes the same time. Blocks for one password hash.
    """
    row = connection.execute(select(users).where(users.c.email == email.lower())).first()
    if row is not None and row.email != email.lower():
        row = None  # MySQL's comparison ignores trailing blanks
    try:
        _hasher.verify(row.password_hash if row else _NOBODY, password)
    except argon2.exceptions.VerificationError:
        return None
    return None if row is None or row.disabled else _user(row)


def is_known(connection: Connection, email: str) -> bool:
    """Tell whether there is a user with this address, disabled or not. One statement."""
    address = email.lower()
    # MySQL's comparison ignores trailing blanks.
    return connection.execute(select(users.c.email).where(users.c.email == address)).scalar() == address


def create(connection: Connection, email: str, password: str, roles: list[str]) -> None:
    """Make a user.

    Raises UserError when the address is taken, or the password or a role is not allowed; ValidationError when the
    address is none.
    """
    address = Email().deserialize(email.lower())
    now = _now()
    try:
        connection.execute(
            insert(users).values(
                email=address,
                password_hash=_hash(password),
                roles=_join(roles),
                disabled=False,
                created_at=now,
                updated_at=now,
            )
        )
    except IntegrityError:
        raise UserError(f"{address} exists already") from None


def change_password(connection: Connection, email: str, password: str) -> None:
    """Set a user's password and enable the user.

    Raises UserError when there is no such user, or the password is not allowed.
    """
    _update(connection, email, password_hash=_hash(password), disabled=False)


def disable(connection: Connection, email: str) -> None:
    """Refuse further log-ins of a user. Tokens issued before stay valid until they expire.

    Raises UserError when there is no such user.
    """
    _update(connection, email, disabled=True)


def list_all(connection: Connection) -> list[User]:
    """Return all users, ordered by address."""
    return [_user(row) for row in connection.execute(select(users).order_by(users.c.email))]


def count(connection: Connection) -> int:
    """Return how many users there are."""
    return int(connection.execute(select(func.count()).select_from(users)).scalar_one())


def _update(connection: Connection, email: str, **values: object) -> None:
    statement = update(users).where(users.c.email == email.lower()).values(**values, updated_at=_now())
    if connection.execute(statement).rowcount == 0:
        raise UserError(f"there is no user {email}")


def _hash(password: str) -> str:
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise UserError(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    return _hasher.hash(password)


def _join(roles: list[str]) -> str:
    unknown = sorted(set(roles) - set(ROLES))
    if unknown or not roles:
        raise UserError(f"roles are {', '.join(ROLES)}" + (f"; not {', '.join(unknown)}" if unknown else ""))
    return ",".join(sorted(set(roles)))


def _user(row: Row[Any]) -> User:
    return User(row.email, row.roles.split(","), bool(row.disabled), row.created_at)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
