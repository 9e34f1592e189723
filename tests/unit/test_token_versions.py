"""ingest_api.auth.token_versions: whose tokens are ended, decided without a query."""

import pytest

from ingest_api.auth.token_versions import TokenVersions, UserState

# Seconds since 1970: the last read of the users.
READ = 1_800_000_000.0

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
def versions() -> TokenVersions:
    """Ada with version 2, made a day before the read; Bob disabled by release 0.1, which raises no version."""
    found = TokenVersions()
    states = {ADA: UserState(2, False, READ - 86400), BOB: UserState(0, True, READ - 86400)}
    found.replace(states, READ)
    return found


@pytest.mark.parametrize(("version", "is_revoked"), [(0, True), (1, True), (2, False)])
def test_a_token_of_a_lower_version_is_ended(versions: TokenVersions, version: int, is_revoked: bool):
    assert versions.is_revoked(ADA, version, READ - 60) is is_revoked


def test_a_token_of_a_higher_version_is_of_a_log_in_since_the_read(versions: TokenVersions):
    assert not versions.is_revoked(ADA, 3, READ - 60)
    assert not versions.is_revoked(BOB, 1, READ + 1)


def test_a_disabled_user_has_no_token(versions: TokenVersions):
    assert versions.is_revoked(BOB, 0, READ - 60)
    assert versions.is_revoked(BOB, 0, READ + 60)


def test_an_unknown_user_was_made_since_the_read_or_is_gone(versions: TokenVersions):
    assert versions.is_revoked("eve@example.com", 0, READ - 60)
    assert not versions.is_revoked("eve@example.com", 0, READ + 60)
    # `iat` is in whole seconds: this log-in may have been after the read.
    assert not versions.is_revoked("eve@example.com", 0, READ - 0.9)


def test_a_user_who_was_deleted_and_made_again_has_no_token_from_before(versions: TokenVersions):
    versions.replace({ADA: UserState(0, False, READ - 10)}, READ)

    assert versions.is_revoked(ADA, 0, READ - 60)
    assert versions.is_revoked(ADA, 5, READ - 60)
    assert not versions.is_revoked(ADA, 0, READ - 10.9)
    assert not versions.is_revoked(ADA, 0, READ - 5)


def test_before_the_first_read_every_token_is_taken():
    assert not TokenVersions().is_revoked(ADA, 0, 0.0)
