"""ingest_api.auth.tokens: only a token that we signed, within its hour, with the right role, opens anything."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ingest_api.auth import keys
from ingest_api.auth.token_versions import TokenVersions, UserState
from ingest_api.auth.tokens import Tokens
from ingest_api.auth.users import User
from ingest_api.http.envelope import ApiError

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = PRIVATE.public_key()
PUBLIC_PEM = PUBLIC.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

ISSUER = "lead-ingest"

NOT_FOUND = (401, "JWT Token not found")
EXPIRED = (401, "Expired JWT Token")
INVALID = (403, "Invalid JWT Token")


@pytest.fixture
def versions() -> TokenVersions:
    """The users' versions, not read yet."""
    return TokenVersions()


@pytest.fixture
def tokens(versions: TokenVersions) -> Tokens:
    return Tokens(PRIVATE, {keys.key_id(PUBLIC): PUBLIC}, 3600, ISSUER, versions)


def user(*roles: str, email: str = "ada@example.com", version: int = 0) -> User:
    return User(email, list(roles), False, version, datetime.now(UTC))


def request(authorization: str | None) -> Any:
    return SimpleNamespace(auth=authorization, context=SimpleNamespace())


def refusal(tokens: Tokens, authorization: str | None) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        tokens.require(request(authorization), "read")
    error = caught.value
    assert (error.headers.get("WWW-Authenticate") == "Bearer") == (error.status_code == 401)
    return error.status_code, str(error.title)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    full = {"sub": "ada@example.com", "iat": now, "exp": now + 60, "roles": ["read"]} | changes
    return {name: value for name, value in full.items() if value is not ...}


def signed(key: Any = PRIVATE, algorithm: str = "RS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm)


def encoded(part: Any) -> str:
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def by_hand(header: Any, payload: Any, signature: bytes) -> str:
    return f"{encoded(header)}.{encoded(payload)}.{encoded(signature)}"


def hmac_with(secret: bytes) -> str:
    """Sign a token with HS256 by hand: PyJWT refuses to take a public key as a secret."""
    import hashlib
    import hmac

    content = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims())}"
    return f"{content}.{encoded(hmac.new(secret, content.encode(), hashlib.sha256).digest())}"


def test_a_token_speaks_of_its_user_and_roles(tokens: Tokens):
    token = tokens.issue(user("ingest", "read"))

    identity = tokens.require(request(f"Bearer {token}"), "read")

    assert (identity.user, identity.roles) == ("ada@example.com", {"ingest", "read"})


@pytest.mark.parametrize(("ahead", "good"), [(30, True), (90, False)])
def test_the_clock_of_the_host_that_issued_it_may_be_a_little_ahead(tokens: Tokens, ahead: int, good: bool):
    authorization = f"Bearer {signed(iat=int(time.time()) + ahead, exp=int(time.time()) + 3600)}"

    if good:
        assert tokens.require(request(authorization), "read").user == "ada@example.com"
    else:
        assert refusal(tokens, authorization) == INVALID


def test_a_token_is_rs256_and_holds_the_claims_of_the_contract(tokens: Tokens):
    token = tokens.issue(user("read"))

    content = jwt.decode(token, PUBLIC, algorithms=["RS256"])
    assert jwt.get_unverified_header(token)["alg"] == "RS256"
    assert set(content) == {"iss", "sub", "iat", "exp", "roles", "ver"}
    assert content["exp"] - content["iat"] == 3600
    assert abs(content["iat"] - time.time()) < 5


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", " Bearer ", "Bearer   "])
def test_the_scheme_may_be_written_in_any_case(tokens: Tokens, scheme: str):
    assert tokens.require(request(f"{scheme} {signed()}"), "read").user == "ada@example.com"


@pytest.mark.parametrize(
    "authorization",
    [None, "", " ", "Bearer", "Bearer ", "Basic YTpi", "Token x", pytest.param(signed(), id="a token alone")],
)
def test_no_token_is_401(tokens: Tokens, authorization: str | None):
    assert refusal(tokens, authorization) == NOT_FOUND


def test_any_of_the_roles_is_enough_and_none_is_403(tokens: Tokens):
    token = request("Bearer " + tokens.issue(user("ingest")))

    assert tokens.require(token, "read", "ingest")
    with pytest.raises(ApiError) as caught:
        tokens.require(token, "read", "admin")
    assert (caught.value.status_code, caught.value.reason) == (403, "role")


def test_a_token_expires_after_its_time_also_when_it_was_verified_before(tokens: Tokens):
    seen, unseen = (tokens.issue(user("read", email=each)) for each in ("ada@example.com", "bob@example.com"))
    assert tokens.require(request(f"Bearer {seen}"), "read")

    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=3590), tick=False):
        assert tokens.require(request(f"Bearer {seen}"), "read")
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=3601), tick=False):
        assert refusal(tokens, f"Bearer {seen}") == EXPIRED
        assert refusal(tokens, f"Bearer {unseen}") == EXPIRED
        assert refusal(tokens, f"Bearer {seen}") == EXPIRED


def test_a_token_of_another_algorithm_is_403(tokens: Tokens):
    none = by_hand({"alg": "none", "typ": "JWT"}, claims(), b"")
    for token in (none, none.rstrip("."), hmac_with(PUBLIC_PEM), hmac_with(b""), signed(algorithm="RS512")):
        assert refusal(tokens, f"Bearer {token}") == INVALID


def test_a_token_of_another_key_is_403(tokens: Tokens):
    assert refusal(tokens, f"Bearer {signed(OTHER)}") == INVALID


def test_an_altered_token_is_403_wherever_it_was_altered(tokens: Tokens):
    header, payload, signature = signed(roles=["ingest"]).split(".")
    more = encoded(claims(roles=["admin", "read"]))
    altered = [
        f"{header}.{more}.{signature}",
        f"{header}.{payload}.{signature[:-8]}AAAAAAAA",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature}.x",
        f"{encoded({'alg': 'RS256', 'typ': 'JWT', 'x': 1})}.{payload}.{signature}",
    ]
    for token in altered:
        assert refusal(tokens, f"Bearer {token}") == INVALID


@pytest.mark.parametrize(
    "changes",
    [
        *({"sub": ...}, {"iat": ...}, {"exp": ...}, {"roles": ...}, {"sub": 7}, {"sub": None}, {"exp": "soon"}),
        *({"roles": "read"}, {"roles": None}, {"roles": [1]}, {"roles": {"read": 1}}, {"roles": []}),
        *({"iat": 32503680000}, {"nbf": 32503680000}, {"iat": "now"}),
        *({"iss": "staging"}, {"iss": None}, {"iss": 7}, {"ver": None}, {"ver": "0"}, {"ver": [0]}),
    ],
    ids=str,
)
def test_a_token_with_wrong_or_missing_claims_is_403(tokens: Tokens, changes: dict[str, Any]):
    header, payload = {"alg": "RS256", "typ": "JWT"}, claims(**changes)
    content = f"{encoded(header)}.{encoded(payload)}"
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(content.encode(), PRIVATE)

    assert refusal(tokens, f"Bearer {content}.{encoded(signature)}") == INVALID


@pytest.mark.parametrize(
    "token",
    [
        *("x", "a.b.c", "...", "é.é.é", "\x00", "null", "a b c", "=" * 100, by_hand(b"{", b"{", b"")),
        *(
            by_hand([], {}, b""),
            by_hand({"alg": ["RS256"]}, {}, b""),
            by_hand({"alg": "RS256", "crit": ["x"]}, {}, b""),
        ),
        *(by_hand({"alg": "RS256", "b64": False}, {}, b""), by_hand(b"\xff", b"\xff", b"\xff")),
    ],
)
def test_what_is_no_token_at_all_is_403(tokens: Tokens, token: str):
    assert refusal(tokens, f"Bearer {token}") == INVALID


@pytest.mark.parametrize("part", ["header", "payload"])
def test_a_token_nested_without_end_is_403(tokens: Tokens, part: str):
    deep = b"[" * 20_000
    token = by_hand(deep, {}, b"") if part == "header" else by_hand({"alg": "RS256"}, deep, b"")

    assert refusal(tokens, f"Bearer {token}") == INVALID


def test_remembered_tokens_do_not_grow_without_end(tokens: Tokens, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ingest_api.auth.tokens.VERIFIED_MAX", 3)
    issued = [tokens.issue(user("read", email=f"user{number}@example.com")) for number in range(8)]

    for token in [*issued, *issued]:
        assert tokens.require(request(f"Bearer {token}"), "read")

    assert len(tokens._verified) <= 3


def test_a_token_names_the_key_that_signed_it(tokens: Tokens):
    token = tokens.issue(user("read", email="ann@example.com"))

    assert jwt.get_unverified_header(token)["kid"] == keys.key_id(PUBLIC)


def signed_by(key: rsa.RSAPrivateKey, **headers: str) -> str:
    now = int(time.time())
    claims = {"sub": "ann@example.com", "iat": now, "exp": now + 60, "roles": ["read"]}
    return jwt.encode(claims, key, algorithm="RS256", headers=headers)


def test_tokens_of_any_accepted_key_are_good_whether_they_name_it_or_not():
    public = OTHER.public_key()
    both = Tokens(PRIVATE, {keys.key_id(PUBLIC): PUBLIC, keys.key_id(public): public}, 3600, ISSUER, TokenVersions())

    for token in (signed_by(OTHER), signed_by(OTHER, kid=keys.key_id(public)), signed_by(PRIVATE)):
        assert both.require(request(f"Bearer {token}"), "read").user == "ann@example.com"


@pytest.mark.parametrize(
    "token",
    [
        signed_by(OTHER),
        signed_by(OTHER, kid=keys.key_id(OTHER.public_key())),
        signed_by(OTHER, kid=keys.key_id(PUBLIC)),
        signed_by(PRIVATE, kid="nobody's"),
    ],
    ids=["another's", "another's by its name", "another's by our name", "ours by an unknown name"],
)
def test_a_token_of_another_key_or_by_another_name_is_not_good(tokens: Tokens, token: str):
    with pytest.raises(ApiError) as refused:
        tokens.require(request(f"Bearer {token}"), "read")

    assert refused.value.status_code == 403


def test_a_token_of_release_0_1_names_neither_issuer_nor_version_and_is_good(tokens: Tokens, versions: TokenVersions):
    versions.replace({"ada@example.com": UserState(version=0, disabled=False, created=0.0)}, time.time())

    assert tokens.require(request(f"Bearer {signed()}"), "read").version == 0


def test_a_token_ends_when_its_user_changes_also_when_it_was_verified_before(tokens: Tokens, versions: TokenVersions):
    token = tokens.issue(user("read", version=3))
    assert tokens.require(request(f"Bearer {token}"), "read")

    versions.replace({"ada@example.com": UserState(version=4, disabled=False, created=0.0)}, time.time())

    assert refusal(tokens, f"Bearer {token}") == INVALID
    assert tokens.require(request(f"Bearer {tokens.issue(user('read', version=4))}"), "read")
