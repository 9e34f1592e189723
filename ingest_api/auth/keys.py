"""The RSA keys of the tokens: made once, then read, and changed without logging anyone out."""

import base64
import hashlib
import os
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from schema.settings import Settings, SettingsError, variable

RSA_BITS = 2048  # RFC 7518, section 3.3: at least 2048


def ensure(settings: Settings) -> None:
    """Make the key pair under the data directory if there is none, and check all keys.

    Safe to call from several processes at once: all end with the same pair. Only its owner can read the private key.

    Raises SettingsError when a configured key is absent, a file holds no RSA key, or the pair does not match.
    """
    private, public = settings.private_key_path, settings.public_key_path
    if settings.jwt_private_key is None and not public.exists():
        private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not private.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
            _create(private, _private_pem(key))
        _create(public, _public_pem(_load_private(private).public_key()))
    signing, verifying = load(settings)
    if signing.public_key().public_numbers() != verifying.public_numbers():
        raise SettingsError(f"{variable('jwt_public_key')} is not the public half of {variable('jwt_private_key')}")
    accepted(settings)


def load(settings: Settings) -> tuple[rsa.RSAPrivateKey, rsa.RSAPublicKey]:
    """Read the signing and the verifying key.

    Raises SettingsError when a file is absent or holds no RSA key.
    """
    return _load_private(settings.private_key_path), _own_public(settings)


def accepted(settings: Settings) -> dict[str, rsa.RSAPublicKey]:
    """Read the public keys whose tokens are accepted, by key id: our own and those in the accepted-keys directory.

    Raises SettingsError when one cannot be read or is no RSA key.
    """
    own = _own_public(settings)
    found = {key_id(own): own}
    directory = settings.accepted_keys_path
    name = variable("jwt_accepted_keys")
    if settings.jwt_accepted_keys is not None and not directory.is_dir():
        raise SettingsError(f"{name}: there is no directory {directory}")
    for path in sorted(directory.glob("*.pem")):
        key = _load_public(path, name)
        found[key_id(key)] = key
    return found


def key_id(key: rsa.RSAPublicKey) -> str:
    """Return a key's id: its JWK thumbprint (RFC 7638)."""
    members = RSAAlgorithm.to_jwk(key, as_dict=True)
    required = {name: members[name] for name in ("e", "kty", "n")}
    digest = hashlib.sha256(orjson.dumps(required, option=orjson.OPT_SORT_KEYS)).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def prepare_next(settings: Settings) -> str:
    """Make the next pair beside the present one and accept its public half; return its key id.

    Processes that start from now on accept its tokens. Raises SettingsError when there is a next pair already.
    """
    private, public = _next(settings)
    if private.exists():
        raise SettingsError(f"the next pair is there already: {private}")
    directory = settings.accepted_keys_path
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    _create(private, _private_pem(rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)))
    key = _load_private(private).public_key()
    _create(public, _public_pem(key))
    _create(directory / f"{key_id(key)}.pem", _public_pem(key))
    return key_id(key)


def use_next(settings: Settings) -> str:
    """Replace the present pair by the next one and return its key id. The old public key stays accepted.

    Processes that start from now on sign with the new pair. Can be run again after an interruption. Raises
    SettingsError when there is no next pair.
    """
    private, public = _next(settings)
    if not private.exists():
        raise SettingsError("there is no next pair: prepare one, and restart all API processes")
    key = _load_private(private).public_key()
    old = _load_private(settings.private_key_path).public_key()
    _create(settings.accepted_keys_path / f"{key_id(old)}.pem", _public_pem(old))
    # The private key last: as long as it exists, an interrupted run can be repeated.
    if public.exists():
        public.replace(settings.public_key_path)
    private.replace(settings.private_key_path)
    return key_id(key)


def retire(settings: Settings) -> list[str]:
    """Delete the accepted public keys of former pairs and return their ids. The present and the next pair stay."""
    keep = {key_id(_own_public(settings))}
    private, _ = _next(settings)
    if private.exists():
        keep.add(key_id(_load_private(private).public_key()))
    gone = []
    for path in sorted(settings.accepted_keys_path.glob("*.pem")):
        each = key_id(_load_public(path, variable("jwt_accepted_keys")))
        if each not in keep:
            path.unlink()
            gone.append(each)
    return gone


def _next(settings: Settings) -> tuple[Path, Path]:
    private, public = settings.private_key_path, settings.public_key_path
    return private.with_name(f"next-{private.name}"), public.with_name(f"next-{public.name}")


def _own_public(settings: Settings) -> rsa.RSAPublicKey:
    return _load_public(settings.public_key_path, variable("jwt_public_key"))


def _load_private(path: Path) -> rsa.RSAPrivateKey:
    name = variable("jwt_private_key")
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{name}: {type(error).__name__} at {path}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError(f"{name}: not an RSA key at {path}")
    return key


def _load_public(path: Path, name: str) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name}: {type(error).__name__} at {path}") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise SettingsError(f"{name}: not an RSA key at {path}")
    return key


def _private_pem(key: rsa.RSAPrivateKey) -> bytes:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption())


def _public_pem(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _create(path: Path, content: bytes) -> None:
    """Write a file atomically and fsync it; keep a file that exists."""
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
