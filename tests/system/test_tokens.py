"""Tokens: whose word the service takes."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.kit.leads import a_lead, assert_error
from tests.kit.service import EMAIL, Service

from . import raw


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    all_claims = {"sub": EMAIL, "iat": now, "exp": now + 3600, "roles": ["ingest", "read"], **changes}
    return {name: value for name, value in all_claims.items() if value is not ...}


def signed(service: Service, payload: dict[str, Any], **headers: Any) -> str:
    """Sign as the service does."""
    key = (service.data / "keys" / "jwt-private.pem").read_text()
    return jwt.encode(payload, key, algorithm="RS256", headers=headers)


def encoded(value: Any) -> str:
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unsigned(algorithm: str, payload: dict[str, Any]) -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(payload)}."


def altered(token: str, part: int) -> str:
    """Change one character in the middle of a part."""
    parts = token.split(".")
    middle = len(parts[part]) // 2
    other = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + other + parts[part][middle + 1 :]
    return ".".join(parts)


def assert_forbidden(service: Service, token: str) -> None:
    for answer in (
        service.get("/api/leads", token=token),
        service.post("/api/leads", a_lead(), token=token),
        service.post("/api/leads/bulk", [a_lead()], token=token),
        service.get("/api/leads/stats", token=token),
    ):
        assert_error(answer, 403, "Invalid JWT Token")


@pytest.mark.parametrize("header", ["", " ", "Bearer", "Bearer   ", "Basic dGVzdDp0ZXN0", "Token abc", "Bearerabc"])
def test_without_a_token_each_call_is_401(service: Service, header: str):
    calls = [("GET", "/api/leads"), ("POST", "/api/leads"), ("POST", "/api/leads/bulk")]
    calls += [("GET", "/api/leads/stats"), ("GET", "/api/leads/01a20469-8d21-74b8-89d6-f73e33b9e6f5")]

    for method, path in calls:
        answer = raw.exchange(service, raw.request(service, method, path, Authorization=header))

        assert_error(answer, 401, "JWT Token not found")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_signed_with_our_key_is_taken(service: Service):
    assert service.get("/api/leads", token=signed(service, claims())).status_code == 200


def test_the_scheme_is_taken_in_any_case(service: Service):
    answer = service.client.get("/api/leads", headers={"Authorization": f"bEARER {service.token()}"})

    assert answer.status_code == 200


def test_an_expired_token_is_401(service: Service):
    answer = service.get("/api/leads", token=signed(service, claims(iat=1_700_000_000, exp=1_700_003_600)))

    assert_error(answer, 401, "Expired JWT Token")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_that_was_taken_before_is_refused_once_it_expires(embedded: Service):
    token = signed(embedded, claims(exp=time.time() + 3))
    assert embedded.get("/api/leads", token=token).status_code == 200

    deadline = time.monotonic() + 30
    while (answer := embedded.get("/api/leads", token=token)).status_code == 200:
        assert time.monotonic() < deadline

    assert_error(answer, 401, "Expired JWT Token")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_an_unsigned_token_is_forbidden(service: Service, algorithm: str):
    assert_forbidden(service, unsigned(algorithm, claims()))


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "RS256"])
def test_a_token_signed_with_our_public_key_as_a_secret_is_forbidden(service: Service, algorithm: str):
    secret = (service.data / "keys" / "jwt-public.pem").read_bytes()
    digest = hashlib.sha512 if algorithm == "HS512" else hashlib.sha256
    start = unsigned(algorithm, claims()).rstrip(".")

    assert_forbidden(service, f"{start}.{encoded(hmac.digest(secret, start.encode(), digest))}")


def test_a_token_of_another_key_is_forbidden(service: Service):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    assert_forbidden(service, jwt.encode(claims(), other, algorithm="RS256"))
    # Nor does the token say itself which key is the right one.
    assert_forbidden(service, jwt.encode(claims(), other, algorithm="RS256", headers={"jwk": {"pem": public.decode()}}))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_our_key_with_another_algorithm_is_forbidden(service: Service, algorithm: str):
    key = (service.data / "keys" / "jwt-private.pem").read_text()

    assert_forbidden(service, jwt.encode(claims(), key, algorithm=algorithm))


def test_an_elliptic_key_is_forbidden(service: Service):
    assert_forbidden(service, jwt.encode(claims(), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_an_altered_token_is_forbidden(service: Service, part: int):
    assert_forbidden(service, altered(service.token(), part))


def test_an_altered_token_is_forbidden_also_when_the_true_one_would_have_expired(service: Service):
    assert_forbidden(service, altered(signed(service, claims(iat=1_700_000_000, exp=1_700_003_600)), 2))


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        "a.b",
        "...",
        "..",
        ".",
        "a.b.c.d",
        "%00",
        "a b",
        "{}",
        "A" * 20000,
        f"{encoded([])}.{encoded([])}.{encoded(b'x')}",
        f"{encoded(b'{')}.{encoded(b'{')}.x",
        f"{encoded(b'[' * 5000)}.{encoded(b'[' * 5000)}.x",
        f"{encoded({'alg': ['RS256']})}.{encoded({})}.x",
        f"{encoded({'alg': {'a': 1}, 'crit': ['x']})}.{encoded({})}.x",
        f"{encoded({'alg': None})}.{encoded({})}.x",
    ],
)
def test_what_is_no_token_is_forbidden(service: Service, token: str):
    assert_forbidden(service, token)


@pytest.mark.parametrize("token", [b"\xff\xfe", "é".encode(), b"a.\xf0\x9f\x98\x80.c", b"a\x01b"])
def test_a_token_of_strange_bytes_is_refused(service: Service, token: bytes):
    answer = raw.exchange(service, raw.request(service, "GET", "/api/leads", Authorization=b"Bearer " + token))

    assert answer.status_code in (400, 403)


@pytest.mark.parametrize("claim", ["sub", "exp", "iat", "roles"])
def test_a_token_without_a_claim_is_forbidden(service: Service, claim: str):
    assert_forbidden(service, signed(service, claims(**{claim: ...})))


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": 1},
        {"sub": None},
        {"sub": ["x"]},
        {"exp": "soon"},
        {"exp": None},
        {"exp": [1]},
        {"exp": {}},
        {"exp": 1e309},
        {"exp": -1e309},
        {"iat": "now"},
        {"iat": None},
        {"iat": []},
        {"iat": 1e309},
        {"roles": None},
        {"roles": "ingest read"},
        {"roles": {"ingest": 1, "read": 1}},
        {"roles": [1]},
        {"roles": [["ingest"]]},
        {"nbf": 99999999999},
        {"iat": 99999999999},
        {"iss": "staging"},
        {"ver": "0"},
        {"ver": None},
    ],
    ids=str,
)
def test_a_token_with_a_strange_claim_is_never_taken(service: Service, changes: dict[str, Any]):
    token = signed(service, claims(**changes))

    for answer in (service.get("/api/leads", token=token), service.post("/api/leads", a_lead(), token=token)):
        assert answer.status_code in (401, 403), answer.text
        assert_error(answer, answer.status_code)


def test_each_role_opens_its_own_calls_only(service: Service):
    reader = signed(service, claims(roles=["read"]))
    sender = signed(service, claims(roles=["ingest"]))
    nobody = signed(service, claims(roles=[]))

    assert service.get("/api/leads", token=reader).status_code == 200
    assert_error(service.post("/api/leads", a_lead(), token=reader), 403, "Invalid JWT Token")
    assert_error(service.post("/api/leads/bulk", [a_lead()], token=reader), 403, "Invalid JWT Token")
    made = service.post("/api/leads", a_lead(), token=sender)
    assert made.status_code == 202
    assert_error(service.get("/api/leads", token=sender), 403, "Invalid JWT Token")
    assert_error(service.get(made.headers["Location"], token=sender), 403, "Invalid JWT Token")
    assert_error(service.get("/api/leads/stats", token=sender), 403, "Invalid JWT Token")
    for token in (reader, sender):
        assert_error(service.get("/api/leads/export", token=token), 403, "Invalid JWT Token")
    exporter = signed(service, claims(roles=["export"]))
    assert service.get("/api/leads/export?email=nobody@example.com", token=exporter).status_code == 200
    assert_error(service.get("/api/leads", token=exporter), 403, "Invalid JWT Token")
    assert_error(service.get(made.headers["Location"], token=exporter), 403, "Invalid JWT Token")
    assert_error(service.post("/api/leads", a_lead(), token=exporter), 403, "Invalid JWT Token")
    assert_forbidden(service, nobody)


def test_the_private_key_is_for_its_owner_alone(service: Service):
    assert (service.data / "keys" / "jwt-private.pem").stat().st_mode & 0o077 == 0
