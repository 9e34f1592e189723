"""The RSA keys of the tokens: made once, then read."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from schema.settings import Settings, SettingsError, variable

RSA_BITS = 2048  # RFC 7518, section 3.3: at least 2048


def ensure(settings: Settings) -> None:
    """Make the key pair under the data dir if there is none; keys that were set must exist.

    Any number of processes may call this at once: all end with one pair, the private key
    readable by its owner alone.

    Raises SettingsError.
    """
    private, public = settings.private_key_path, settings.public_key_path
    if settings.jwt_private_key is None and not public.exists():
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not private.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
            _create(
                private,
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ),
            )
        _create(
            public,
            _load_private(private)
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
    signing, verifying = load(settings)
    if signing.public_key().public_numbers() != verifying.public_numbers():
        raise SettingsError(f"{variable('jwt_public_key')} is not the public half of {variable('jwt_private_key')}")


def load(settings: Settings) -> tuple[rsa.RSAPrivateKey, rsa.RSAPublicKey]:
    """Read the signing and the verifying key.

    Raises SettingsError when a file is absent or holds no RSA key.
    """
    signing = _load_private(settings.private_key_path)
    name = variable("jwt_public_key")
    try:
        verifying = serialization.load_pem_public_key(settings.public_key_path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name}: {type(error).__name__} at {settings.public_key_path}") from None
    if not isinstance(verifying, rsa.RSAPublicKey):
        raise SettingsError(f"{name}: not an RSA key at {settings.public_key_path}")
    return signing, verifying


def _load_private(path: Path) -> rsa.RSAPrivateKey:
    name = variable("jwt_private_key")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{name}: {type(error).__name__} at {path}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError(f"{name}: not an RSA key at {path}")
    return key


def _create(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and leave one that is there as it is."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
