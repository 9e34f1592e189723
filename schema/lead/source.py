"""A source: who sends leads with an API key of its own. What its name and its keys look like."""

import hashlib
import re
import secrets
from typing import NamedTuple

SOURCE_NAME_MAX = 40  # characters
SOURCE_NAME_PATTERN = "^[a-z0-9][a-z0-9._-]{0,39}$"

# What an API key begins with, so that it is told from a JWT, and found by scanners for secrets.
KEY_MARK = "lead_"

# Characters of the part that names a key: KEY_MARK and 10 of base 32, whose chance to be taken is negligible.
KEY_PREFIX_LENGTH = len(KEY_MARK) + 10

SECRET_BYTES = 32

# What the name of a source begins with in logs and in the audit trail, beside users.
USER_MARK = "source:"


class SourceLimits(NamedTuple):
    """A source, how many leads of it are accepted (0: any number), and what becomes of duplicates."""

    name: str
    rate: int = 0  # leads in a minute of Redis's clock
    daily_cap: int = 0  # leads in a day, UTC, of their own time
    duplicate_days: int | None = None  # 0: its leads are no duplicates; None: as for users
    refuses_duplicates: bool = False


_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_name = re.compile(SOURCE_NAME_PATTERN, re.ASCII)


def is_name(text: str) -> bool:
    """Tell whether a source may have this name."""
    return _name.fullmatch(text) is not None


def user_of(name: str) -> str:
    """Return what stands for a source where users have their e-mail address, which has no colon before its `@`."""
    return f"{USER_MARK}{name}"


def new_key() -> str:
    """Return a random API key: `lead_<name>_<secret>`."""
    name = "".join(secrets.choice(_BASE32) for _ in range(KEY_PREFIX_LENGTH - len(KEY_MARK)))
    return f"{KEY_MARK}{name}_{secrets.token_urlsafe(SECRET_BYTES)}"


def prefix_of(key: str) -> str:
    """Return the part of an API key that names it, which is no secret."""
    return key[:KEY_PREFIX_LENGTH]


def hash_of(key: str) -> bytes:
    """Return the SHA-256 of an API key. It has 256 random bits, so that a slow hash would add nothing."""
    return hashlib.sha256(key.encode()).digest()
