"""The versions of the users' tokens, read from the database every few seconds: who is changed or gone loses theirs."""

from dataclasses import dataclass
from datetime import UTC

from sqlalchemy import Connection, select

from schema.database.tables import users

# A token's `iat` is in whole seconds, so it may be so much (seconds) before the moment of its log-in.
IAT_PRECISION = 1.0


@dataclass(frozen=True, slots=True)
class UserState:
    """What decides about a user's tokens."""

    version: int
    disabled: bool
    created: float  # seconds since 1970


class TokenVersions:
    """Tells which tokens are ended. A look-up is one in a dictionary: no request waits for the database."""

    def __init__(self) -> None:
        self._users: dict[str, UserState] | None = None
        self._read_at = 0.0

    def is_revoked(self, user: str, version: int, issued: float) -> bool:
        """Tell whether a token is ended: its version, and when it was issued (seconds since 1970)."""
        if self._users is None:
            return False
        state = self._users.get(user)
        if state is None:
            # A user made since the last read may have logged in already.
            return issued + IAT_PRECISION < self._read_at
        if issued + IAT_PRECISION < state.created:
            # The token of a user of the same address who was deleted.
            return True
        # Versions only rise: a higher one is of a log-in since the last read.
        return version < state.version or (version == state.version and state.disabled)

    def replace(self, states: dict[str, UserState], read_at: float) -> None:
        """Take all users as they were at `read_at` (seconds since 1970)."""
        self._users, self._read_at = states, read_at


def read(connection: Connection) -> dict[str, UserState]:
    """Return what decides about the tokens of each user."""
    statement = select(users.c.email, users.c.token_version, users.c.disabled, users.c.created_at)
    return {
        row.email: UserState(row.token_version, bool(row.disabled), row.created_at.replace(tzinfo=UTC).timestamp())
        for row in connection.execute(statement)
    }
