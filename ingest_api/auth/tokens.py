"""Tokens: issues JWTs signed with RS256 and checks the one in a request."""

import time
from dataclasses import dataclass
from typing import Any

import falcon
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from ingest_api.auth.keys import key_id
from ingest_api.auth.token_versions import TokenVersions
from ingest_api.auth.users import User
from ingest_api.http.context import Request
from ingest_api.http.envelope import ApiError
from schema.lead.additional_data import AdditionalDataCheck
from schema.lead.source import SourceLimits

ALGORITHM = "RS256"

# Most entries in the cache of verified tokens; a look-up saves the RSA verification
# (docs/lab/2026-11-26-behind-the-constants.md).
VERIFIED_MAX = 10_000

# Longest Authorization header (characters) that is cached; our own tokens have some 600.
HEADER_MAX = 4096

# Most clock skew (seconds) of the host that issued a token: its `iat` may be so far in the future.
CLOCK_SKEW_MAX = 60

NOT_OURS = "Invalid JWT Token"

# Version of the tokens of release 0.1, which do not name theirs.
FIRST_VERSION = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """The user that a token names, or the source that an API key stands for."""

    user: str  # an e-mail address, or schema.lead.source.user_of
    roles: frozenset[str]
    expires: float  # seconds since 1970
    issued: float  # seconds since 1970
    version: int  # of the user's tokens, when this one was issued
    source: SourceLimits | None = None  # None: a user
    additional_data: AdditionalDataCheck | None = None  # of the source; None: any additionalData

    @property
    def source_name(self) -> str | None:
        """The source's name, or None for a user."""
        return None if self.source is None else self.source.name


class Tokens:
    """Issues tokens and checks them."""

    def __init__(
        self,
        private: rsa.RSAPrivateKey,
        accepted: dict[str, rsa.RSAPublicKey],
        ttl: int,
        issuer: str,
        versions: TokenVersions,
    ) -> None:
        """Take the signing key, the accepted public keys by key id, and the TTL of a token in seconds."""
        self._private = private
        self._key_id = key_id(private.public_key())
        self._accepted = accepted
        self._ttl = ttl
        self._issuer = issuer
        self._versions = versions
        self._verified: dict[str, Identity] = {}

    def issue(self, user: User) -> str:
        """Return a token for `user` that expires after the TTL."""
        now = int(time.time())
        claims = {"iss": self._issuer, "sub": user.email, "iat": now, "exp": now + self._ttl}
        claims |= {"roles": user.roles, "ver": user.token_version}
        return jwt.encode(claims, self._private, algorithm=ALGORITHM, headers={"kid": self._key_id})

    def require(self, req: Request, *roles: str) -> Identity:
        """Return the identity in the request's token; the user must have one of `roles`.

        Raises the 401 or the 403 of the contract.
        """
        # The cache key is the whole header: a hit needs no parsing.
        header = req.auth or ""
        identity = self._verified.get(header) or self._remember(header)
        if identity.expires <= time.time():
            self._verified.pop(header, None)
            raise _unauthorized("Expired JWT Token", "token_expired")
        req.context.user = identity.user
        if self._versions.is_revoked(identity.user, identity.version, identity.issued):
            raise forbidden(NOT_OURS, "token_revoked")
        if not identity.roles.intersection(roles):
            raise forbidden(NOT_OURS, "role")
        return identity

    def _remember(self, header: str) -> Identity:
        identity = self._decode(_bearer(header))
        if len(self._verified) >= VERIFIED_MAX:
            self._verified.clear()
        if len(header) <= HEADER_MAX:
            self._verified[header] = identity
        return identity

    def _decode(self, token: str) -> Identity:
        try:
            claims = self._claims(token)
        except jwt.ExpiredSignatureError:
            raise _unauthorized("Expired JWT Token", "token_expired") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise forbidden(NOT_OURS, "token_invalid") from None
        roles, version = claims.get("roles"), claims.get("ver", FIRST_VERSION)
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise forbidden(NOT_OURS, "token_invalid")
        # Processes of release 0.1, which go on during an upgrade, name no issuer.
        if not isinstance(version, int) or claims.get("iss", self._issuer) != self._issuer:
            raise forbidden(NOT_OURS, "token_invalid")
        return Identity(claims["sub"], frozenset(roles), float(claims["exp"]), float(claims["iat"]), version)

    def _claims(self, token: str) -> dict[str, Any]:
        """Return the claims of a token signed by an accepted key; a token with a `kid` must be signed by that one.

        Raises PyJWTError, ValueError or TypeError.
        """
        named = jwt.get_unverified_header(token).get("kid")
        keys = self._accepted.values() if named is None else [self._accepted[named]] if named in self._accepted else []
        for key in keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key,
                    algorithms=[ALGORITHM],
                    options={"require": ["exp", "iat", "sub"], "verify_aud": False, "verify_iat": False},
                )
            except jwt.InvalidSignatureError:
                continue
            # Checked here, because PyJWT's `leeway` would extend `exp` as well.
            issued = claims["iat"]
            if not isinstance(issued, int | float) or not issued <= time.time() + CLOCK_SKEW_MAX:
                raise jwt.ImmatureSignatureError
            return claims
        raise jwt.InvalidSignatureError


def authorization(header: str) -> tuple[str, str]:
    """Return the scheme of an Authorization header, in small letters, and what follows it."""
    scheme, _, rest = header.strip().partition(" ")
    return scheme.lower(), rest.strip()


def _bearer(header: str) -> str:
    scheme, token = authorization(header)
    if scheme != "bearer" or not token:
        raise _unauthorized("JWT Token not found", "token_missing")
    return token


def _unauthorized(message: str, reason: str) -> ApiError:
    return ApiError(falcon.HTTP_401, message, reason, headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str, reason: str) -> ApiError:
    """Make the 403 for a token or key that opens nothing here."""
    return ApiError(falcon.HTTP_403, message, reason)
