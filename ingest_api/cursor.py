"""Cursors: where a list goes on. Opaque and encrypted, since one may hold a person's name or address."""

import base64
import hashlib
from dataclasses import dataclass

import orjson
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class BadCursor(ValueError):
    """A cursor that is not ours, or belongs to another list."""


@dataclass(frozen=True, slots=True)
class After:
    """The last row of the page before: its value in the sort column (None for createdAt) and its id."""

    value: str | None
    id: bytes


class Cursors:
    """Writes and reads cursors. Every process that has the signing key reads those of the others."""

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        secret = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        key = hashlib.sha256(b"lead-ingest cursor" + secret).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def write(self, list_name: str, after: After) -> str:
        """Return a cursor to the rows after `after` in the list that `list_name` stands for (its sort and filters)."""
        content = orjson.dumps([list_name, after.value, after.id.hex()])
        return self._fernet.encrypt(content).rstrip(b"=").decode()

    def read(self, list_name: str, cursor: str) -> After:
        """Return what `write` was given.

        Raises BadCursor when the cursor was altered, or was given out for another list.
        """
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            name, value, lead = orjson.loads(self._fernet.decrypt(padded))
        except (InvalidToken, ValueError):
            raise BadCursor("This cursor is not valid.") from None
        if name != list_name:
            raise BadCursor("This cursor belongs to a list with another sort or filter.")
        return After(value, bytes.fromhex(lead))
