"""Tokens for tests that run the API within their own process."""

from ingest_api.auth import keys, users
from ingest_api.auth.token_versions import TokenVersions
from ingest_api.auth.tokens import Tokens
from schema.settings import Settings
from tests.integration.backends import writer


def token_for(settings: Settings, email: str, roles: list[str]) -> str:
    """Make the keys and the user, unless they are there, and issue a token as a log-in does."""
    keys.ensure(settings)
    private, _ = keys.load(settings)
    engine = writer(settings)
    with engine.begin() as connection:
        if users.find(connection, email) is None:
            users.create(connection, email, "a long password", roles)
        users.set_roles(connection, email, roles)
        user = users.authenticate(connection, email, "a long password")
    engine.dispose()
    assert user is not None
    tokens = Tokens(private, keys.accepted(settings), settings.token_ttl, settings.token_issuer, TokenVersions())
    return tokens.issue(user)
