"""ingest_api.auth.api_keys, schema.lead.source: whose an API key is, and what keys and names look like."""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from sqlalchemy import Engine

from ingest_api.auth import api_keys, sources
from ingest_api.auth.api_keys import ApiKeys, KnownKey
from ingest_api.auth.tokens import Identity
from ingest_api.http.envelope import ApiError
from schema.database import engines
from schema.database.tables import metadata
from schema.lead.source import (
    KEY_MARK,
    KEY_PREFIX_LENGTH,
    SOURCE_NAME_MAX,
    SourceLimits,
    hash_of,
    is_name,
    new_key,
    prefix_of,
    user_of,
)

GRACE = timedelta(hours=1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An SQLite with all tables, which are empty."""
    engine = engines.writer(f"sqlite:///{tmp_path / 'leads.db'}", timeout=10)
    with engine.begin() as connection:
        metadata.create_all(connection)
    yield engine
    engine.dispose()


def created(engine: Engine, name: str = "acme", **limits: int) -> str:
    with engine.begin() as connection:
        return sources.create(connection, name, ["ingest"], **limits)


def rotated(engine: Engine, name: str = "acme") -> str:
    with engine.begin() as connection:
        return sources.rotate(connection, name, GRACE)


def found(engine: Engine) -> dict[str, KnownKey]:
    with engine.connect() as connection:
        return ApiKeys().read(connection)


def known_in(engine: Engine) -> ApiKeys:
    """Return what a process knows that has just read the keys."""
    known = ApiKeys()
    known.replace(found(engine), 0.0)
    return known


def refusal(known: ApiKeys, key: str) -> tuple[int, str]:
    """Return the status and the reason with which a key is refused."""
    with pytest.raises(ApiError) as refused:
        known.identify(key)
    return refused.value.status_code, refused.value.reason


def test_a_key_stands_for_its_source_with_its_roles_and_limits(engine: Engine):
    with engine.begin() as connection:
        key = sources.create(connection, "acme", ["read", "ingest"], rate=100, daily_cap=5000)
    other = created(engine, "globex")

    known = known_in(engine)

    identity = known.identify(key)
    assert (identity.user, identity.roles) == ("source:acme", {"ingest", "read"})
    assert identity.source == SourceLimits("acme", 100, 5000)
    assert known.identify(other).source == SourceLimits("globex", 0, 0)


@pytest.mark.parametrize(
    "unknown", [KEY_MARK, "", "lead_aaaaaaaaaa_" + "A" * 43, "lead_aaaaaaaaaa", "lead_" + "é" * 54]
)
def test_an_unknown_key_is_a_403(engine: Engine, unknown: str):
    created(engine)

    assert refusal(known_in(engine), unknown) == (403, "key_invalid")


def test_a_key_with_a_known_prefix_and_another_secret_is_a_403(engine: Engine):
    key = created(engine)
    known = known_in(engine)

    for each in (prefix_of(key), f"{prefix_of(key)}_{'A' * 43}", key[:-1], f"{key}A", key.swapcase(), f"{key} "):
        assert refusal(known, each) == (403, "key_invalid")
    assert known.identify(key).user == "source:acme"


def test_the_key_of_another_source_is_not_taken_under_this_ones_prefix(engine: Engine):
    acme, globex = created(engine), created(engine, "globex")

    forged = prefix_of(acme) + globex[KEY_PREFIX_LENGTH:]

    assert refusal(known_in(engine), forged) == (403, "key_invalid")


def test_a_key_that_was_changed_ends_with_its_grace_and_the_new_one_stays(engine: Engine):
    # Given a key that was changed
    old = created(engine)
    new = rotated(engine)
    known = known_in(engine)

    # Then both are good until the grace is over, without another read
    assert known.identify(old).source == known.identify(new).source == SourceLimits("acme")
    for late, is_good in ((-1, True), (1, False)):
        with time_machine.travel(datetime.now(UTC) + GRACE + timedelta(seconds=late), tick=False):
            assert known.identify(new).user == "source:acme"
            if is_good:
                assert known.identify(old).user == "source:acme"
            else:
                assert refusal(known, old) == (403, "key_invalid")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=10_000), tick=False):
        assert known.identify(new).expires == api_keys.NEVER


def test_a_key_ends_at_the_moment_and_not_after_it():
    key = new_key()
    end = datetime(2026, 3, 1, 12, tzinfo=UTC)
    identity = Identity("source:acme", frozenset({"ingest"}), end.timestamp(), 0.0, 0, SourceLimits("acme"))
    known = ApiKeys()
    known.replace({prefix_of(key): KnownKey(hash_of(key), identity)}, 0.0)

    with time_machine.travel(end - timedelta(milliseconds=1), tick=False):
        assert known.identify(key) is identity
    with time_machine.travel(end, tick=False):
        assert refusal(known, key) == (403, "key_invalid")


def test_before_the_first_read_every_key_is_a_503(engine: Engine):
    key = created(engine)
    known = ApiKeys()

    for each in (key, KEY_MARK):
        assert refusal(known, each) == (503, "keys_unknown")

    # And a database without sources is a read, too
    known.replace({}, 0.0)
    assert refusal(known, key) == (403, "key_invalid")


def test_a_disabled_source_has_no_key_that_is_read(engine: Engine):
    # Given two sources, of which one has two keys
    acme, globex = created(engine), created(engine, "globex")
    second = rotated(engine)
    assert found(engine).keys() == {prefix_of(each) for each in (acme, second, globex)}

    # When it is disabled
    with engine.begin() as connection:
        sources.disable(connection, "acme")

    # Then the other's keys are read alone, until it is enabled again
    assert found(engine).keys() == {prefix_of(globex)}
    assert refusal(known_in(engine), second) == (403, "key_invalid")
    with engine.begin() as connection:
        sources.enable(connection, "acme")
    assert known_in(engine).identify(second).user == "source:acme"


def test_a_key_that_is_over_is_not_read(engine: Engine):
    old = created(engine)
    new = rotated(engine)

    for late, keys in ((-1, {old, new}), (1, {new})):
        with time_machine.travel(datetime.now(UTC) + GRACE + timedelta(seconds=late), tick=False):
            assert found(engine).keys() == {prefix_of(each) for each in keys}


def test_a_read_takes_the_place_of_the_one_before(engine: Engine):
    key = created(engine)
    known = known_in(engine)

    with engine.begin() as connection:
        sources.change(connection, "acme", daily_cap=7)
    known.replace(found(engine), 0.0)

    assert known.identify(key).source == SourceLimits("acme", 0, 7)


def test_what_is_read_holds_no_secret(engine: Engine):
    key = created(engine)

    assert key[KEY_PREFIX_LENGTH:] not in repr(found(engine))
    assert found(engine)[prefix_of(key)].hash == hashlib.sha256(key.encode()).digest()


@pytest.mark.parametrize("name", ["a", "0", "acme", "acme-2", "a.b_c-d", "a" * SOURCE_NAME_MAX, "0.-_"])
def test_a_source_may_be_called(name: str):
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * (SOURCE_NAME_MAX + 1),
        "Acme",
        "-acme",
        ".acme",
        "_acme",
        "ac me",
        "acme\n",
        "\nacme",
        "acme:1",
        "acme,globex",
        'ac"me',
        "a/b",
        "a{b}",
        "açme",
        "٣",
    ],
)
def test_a_source_may_not_be_called(name: str):
    assert not is_name(name)


def test_a_source_is_no_user():
    assert user_of("acme") == "source:acme"


def test_keys_are_of_the_documented_form():
    for _ in range(100):
        key = new_key()
        assert re.fullmatch(r"lead_[a-z2-7]{10}_[A-Za-z0-9_-]{43}", key)
        assert re.fullmatch(r"lead_[a-z2-7]{10}", prefix_of(key))
        assert key.startswith(KEY_MARK)
        assert len(prefix_of(key)) == KEY_PREFIX_LENGTH == 15


def test_keys_are_unique_and_so_are_their_prefixes_and_hashes():
    keys = {new_key() for _ in range(1000)}

    assert len(keys) == len({prefix_of(each) for each in keys}) == len({hash_of(each) for each in keys}) == 1000


def test_a_hash_is_of_the_whole_key():
    key = new_key()

    assert hash_of(key) == hashlib.sha256(key.encode()).digest()
    assert hash_of(key) != hash_of(key[:-1]) != hash_of(prefix_of(key))
