"""ingest_api.keys: one pair, made once, the private half for its owner alone; a wrong pair stops the start."""

import multiprocessing
import stat
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ingest_api import keys
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
    rsa, _ = keys.load(made)
    locked = serialization.BestAvailableEncryption(b"secret")
    for key, encryption in ((curve, serialization.NoEncryption()), (rsa, locked)):
        path = tmp_path / "key.pem"
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.write_bytes(key.private_bytes(pem, pkcs8, encryption))
        with pytest.raises(SettingsError, match=r"^LEADS_JWT_PRIVATE_KEY: "):
            keys.load(Settings(jwt_private_key=path, jwt_public_key=made.public_key_path))
