"""Cursors: where a list goes on. Opaque and encrypted, because one may hold a person's name or address."""

import base64
import hashlib
import os
from dataclasses import dataclass

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

# Nonce, bytes. AES-SIV (RFC 5297) is misuse-resistant: a repeated nonce does no harm.
NONCE = 16


class BadCursor(ValueError):
    """A cursor that is not ours, or belongs to another list."""


@dataclass(frozen=True, slots=True)
class After:
    """The last row of the previous page: its value in the sort column (None for createdAt) and its id."""

    value: str | None
    id: bytes


class Cursors:
    """Writes and reads cursors. The key comes from the signing key, so processes read each other's cursors."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        secret = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        key = hashlib.sha512(b"lead-ingest cursor" + secret).digest()
        self._cipher = AESSIV(key)

    def write(self, list_name: str, after: After) -> str:
        """Return a cursor to the rows after `after`. `list_name` identifies the list (ListQuery.name)."""
        content = orjson.dumps([list_name, after.value, after.id.hex()])
        nonce = os.urandom(NONCE)
        sealed = nonce + self._cipher.encrypt(content, [nonce])
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def read(self, list_name: str, cursor: str) -> After:
        """Return the `after` that `write` was given.

        Raises BadCursor when the cursor was altered or belongs to another list.
        """
        try:
            sealed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
            name, value, lead = orjson.loads(self._cipher.decrypt(sealed[NONCE:], [sealed[:NONCE]]))
        except (InvalidTag, ValueError):
            raise BadCursor("This cursor is not valid.") from None
        if name != list_name:
            raise BadCursor("This cursor belongs to a list with another sort or filter.")
        return After(value, bytes.fromhex(lead))
