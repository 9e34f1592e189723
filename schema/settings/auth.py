"""Tokens and the first user."""

from dataclasses import dataclass
from pathlib import Path

from schema.settings.declare import number, setting


@dataclass(frozen=True)
class AuthSettings:
    """Tokens and the first user."""

    jwt_private_key: Path | None = setting(
        None, "PEM file of the RSA key that signs tokens. Empty: made under the data dir.", kind="path"
    )
    jwt_public_key: Path | None = setting(
        None, "PEM file of the RSA key that verifies tokens. Empty: made under the data dir.", kind="path"
    )
    jwt_accepted_keys: Path | None = setting(
        None,
        "Directory of further public keys, `*.pem`, whose tokens are accepted: those before a change of keys, or those "
        "after the next. Empty: `keys/accepted` under the data dir.",
        kind="path",
    )
    token_ttl: int = number(3600, "Life of a token.", unit="seconds", low=1, high=86400)
    first_user: str = setting(
        "test@example.com", "User that is made, with all roles, when there is none yet and a password is given."
    )
    first_password: str = setting(
        "", "That user's password. Empty: the embedded run makes the well-known test user, on loopback only."
    )
