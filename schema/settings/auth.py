"""Tokens and the first user."""

from dataclasses import dataclass
from pathlib import Path

from marshmallow.validate import Length

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
    token_issuer: str = setting(
        "lead-ingest",
        "Issuer (`iss`) that tokens name; those of another are refused. A name for each installation "
        "keeps their tokens apart; changing it ends all tokens.",
        check=Length(min=1, max=200),
    )
    login_failures: int = number(
        10,
        "Failed log-ins for one account, or from one address, after which the next is refused for a second, then for "
        "twice as long after each further one, up to 15 minutes. They are forgotten after 15 minutes without one.",
        unit="log-ins",
        low=1,
    )
    first_user: str = setting(
        "test@example.com", "User that is made, with all roles, when there is none yet and a password is given."
    )
    first_password: str = setting(
        "", "That user's password. Empty: the embedded run makes the well-known test user, on loopback only."
    )
