"""ingest_api.auth.keys: one pair, made once, the private half for its owner alone; a wrong pair stops the start."""

import base64
import multiprocessing
import stat
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ingest_api.auth import keys
from schema.settings import Settings, SettingsError

PROCESSES = 4


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a pair of keys that was made."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("made"))
    keys.ensure(settings)
    return settings


def test_a_pair_is_made_once_and_read_after(made: Settings):
    before = made.private_key_path.read_bytes(), made.public_key_path.read_bytes()

    keys.ensure(made)

    assert (made.private_key_path.read_bytes(), made.public_key_path.read_bytes()) == before
    private, public = keys.load(made)
    assert private.public_key().public_numbers() == public.public_numbers()
    assert private.key_size >= 2048


def test_the_private_key_is_for_its_owner_alone_and_no_draft_is_left(made: Settings):
    assert mode(made.private_key_path) == 0o600
    assert mode(made.private_key_path.parent) == 0o700
    assert {path.name for path in made.private_key_path.parent.iterdir()} == {"jwt-private.pem", "jwt-public.pem"}


def _ensure(settings: Settings, barrier: Barrier) -> None:
    barrier.wait(30)
    keys.ensure(settings)


def test_processes_that_start_at_once_end_with_one_pair(tmp_path: Path):
    settings = Settings(data_dir=tmp_path)
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(PROCESSES)
    processes = [context.Process(target=_ensure, args=(settings, barrier)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert len(list(settings.private_key_path.parent.iterdir())) == 2


def test_a_start_that_was_cut_short_is_finished(made: Settings, tmp_path: Path):
    settings = Settings(data_dir=tmp_path)
    settings.private_key_path.parent.mkdir()
    settings.private_key_path.write_bytes(made.private_key_path.read_bytes())

    keys.ensure(settings)

    assert settings.public_key_path.read_bytes() == made.public_key_path.read_bytes()


def test_a_public_key_of_another_pair_is_refused(made: Settings, tmp_path: Path):
    other = Settings(data_dir=tmp_path)
    keys.ensure(other)

    mixed = Settings(jwt_private_key=made.private_key_path, jwt_public_key=other.public_key_path)

    with pytest.raises(SettingsError, match=r"^LEADS_JWT_PUBLIC_KEY is not the public half"):
        keys.ensure(mixed)


def test_keys_that_were_set_are_never_made(tmp_path: Path):
    settings = Settings(jwt_private_key=tmp_path / "private.pem", jwt_public_key=tmp_path / "public.pem")

    with pytest.raises(SettingsError, match=r"^LEADS_JWT_PRIVATE_KEY: FileNotFoundError at "):
        keys.ensure(settings)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_named(made: Settings, tmp_path: Path, content: bytes):
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(content)

    with pytest.raises(SettingsError, match=r"^LEADS_JWT_PRIVATE_KEY: "):
        keys.load(Settings(jwt_private_key=wrong, jwt_public_key=made.public_key_path))
    with pytest.raises(SettingsError, match=r"^LEADS_JWT_PUBLIC_KEY: "):
        keys.load(Settings(jwt_private_key=made.private_key_path, jwt_public_key=wrong))


def test_a_key_of_another_kind_or_with_a_password_is_named(made: Settings, tmp_path: Path):
    curve = ec.generate_private_key(ec.SECP256R1())
    private, _ = keys.load(made)
    locked = serialization.BestAvailableEncryption(b"secret")
    for key, encryption in ((curve, serialization.NoEncryption()), (private, locked)):
        path = tmp_path / "key.pem"
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.write_bytes(key.private_bytes(pem, pkcs8, encryption))
        with pytest.raises(SettingsError, match=r"^LEADS_JWT_PRIVATE_KEY: "):
            keys.load(Settings(jwt_private_key=path, jwt_public_key=made.public_key_path))


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """Settings with a pair of keys of their own."""
    settings = Settings(data_dir=tmp_path)
    keys.ensure(settings)
    return settings


def signing(settings: Settings) -> str:
    """Return the id of the key that signs; the pair must belong together."""
    keys.ensure(settings)
    return keys.key_id(keys.load(settings)[1])


def test_a_key_id_is_the_thumbprint_of_the_rfc():
    # RFC 7638, section 3.1.
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3okn"
        "jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qM"
        "QvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJz"
        "KnqDKgw"
    )
    modulus = int.from_bytes(base64.urlsafe_b64decode(n + "=="))

    key = rsa.RSAPublicNumbers(65537, modulus).public_key()

    assert keys.key_id(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_keys_change_step_by_step_and_each_step_accepts_what_the_others_sign(own: Settings):
    first = signing(own)
    assert list(keys.accepted(own)) == [first]

    second = keys.prepare_next(own)
    assert signing(own) == first
    assert set(keys.accepted(own)) == {first, second}

    assert keys.use_next(own) == second
    assert signing(own) == second
    assert set(keys.accepted(own)) == {first, second}

    assert keys.retire(own) == [first]
    assert list(keys.accepted(own)) == [second]


def test_each_step_refuses_to_run_out_of_turn(own: Settings):
    with pytest.raises(SettingsError, match="there is no next pair"):
        keys.use_next(own)
    keys.prepare_next(own)
    with pytest.raises(SettingsError, match="is there already"):
        keys.prepare_next(own)
    # The one that is next stays accepted.
    assert keys.retire(own) == []


def test_a_change_that_was_cut_short_is_finished_by_running_it_again(own: Settings):
    second = keys.prepare_next(own)
    public = own.public_key_path
    public.with_name(f"next-{public.name}").replace(public)

    assert keys.use_next(own) == second
    assert signing(own) == second


def test_an_accepted_key_that_is_none_is_named(own: Settings):
    own.accepted_keys_path.mkdir()
    (own.accepted_keys_path / "wrong.pem").write_text("nonsense")

    with pytest.raises(SettingsError, match=r"^LEADS_JWT_ACCEPTED_KEYS: .*wrong\.pem"):
        keys.accepted(own)
    with pytest.raises(SettingsError, match=r"^LEADS_JWT_ACCEPTED_KEYS: there is no directory"):
        keys.accepted(replace(own, jwt_accepted_keys=own.data_dir / "missing"))
