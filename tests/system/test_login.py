"""POST /api/login_check"""

import time

import argon2
import httpx
import jwt
import pytest
from sqlalchemy import create_engine, text

from tests.kit.leads import assert_common_headers, assert_error
from tests.kit.service import EMAIL, PASSWORD, Service


def log_in(service: Service, email: object, password: object, **more: object) -> httpx.Response:
    return service.post("/api/login_check", {"email": email, "password": password, **more}, token=None)


def test_the_right_password_gives_a_token_of_one_hour(service: Service):
    before = int(time.time())

    answer = log_in(service, EMAIL, PASSWORD)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json().keys() == {"token"}
    assert_common_headers(answer)
    key = (service.data / "keys" / "jwt-public.pem").read_text()
    claims = jwt.decode(answer.json()["token"], key, algorithms=["RS256"])
    assert claims["sub"] == EMAIL
    assert claims["exp"] - claims["iat"] == 3600
    assert before <= claims["iat"] <= time.time()
    assert sorted(claims["roles"]) == ["export", "ingest", "read"]
    assert claims["iss"] == "lead-ingest"


def test_the_address_is_taken_in_any_case(service: Service):
    assert log_in(service, EMAIL.upper(), PASSWORD).status_code == 200


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "password124"),
        (EMAIL, "PASSWORD123"),
        (EMAIL, PASSWORD + " "),
        (EMAIL, "p\x00"),
        (EMAIL, "пароль😀"),
        ("nobody@example.com", PASSWORD),
        (EMAIL + " ", PASSWORD),
        (" " + EMAIL, PASSWORD),
        ("tést@example.com", PASSWORD),
        ("ｔest@example.com", PASSWORD),
        (EMAIL + "\x00", PASSWORD),
        ("' OR 1=1 -- ", PASSWORD),
        ("%", PASSWORD),
        ("😀", PASSWORD),
    ],
)
def test_a_wrong_password_and_an_unknown_user_are_answered_alike(service: Service, email: str, password: str):
    answer = log_in(service, email, password)

    body = assert_error(answer, 401, "Invalid credentials")
    assert body.keys() == {"status", "code", "message"}
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_unknown_user_takes_as_long_as_a_wrong_password(service: Service):
    times: dict[str, list[float]] = {EMAIL: [], "nobody@example.com": []}

    for _ in range(8):
        for email, measured in times.items():
            started = time.perf_counter()
            log_in(service, email, "wrong password")
            measured.append(time.perf_counter() - started)

    known, unknown = (min(measured) for measured in times.values())
    # Without a hash to check, an unknown user is answered in a fiftieth of the time.
    assert 0.2 < unknown / known < 5


@pytest.mark.parametrize("value", [None, 1, True, 1.5, [], ["x"], {}, {"$ne": ""}])
@pytest.mark.parametrize("field", ["email", "password"])
def test_a_value_of_another_type_is_an_error_of_its_field(service: Service, field: str, value: object):
    answer = log_in(service, **{"email": EMAIL, "password": PASSWORD, field: value})

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {field}


def test_all_missing_fields_are_named_at_once(service: Service):
    answer = service.post("/api/login_check", {}, token=None)

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {"email", "password"}


@pytest.mark.parametrize("field", ["email", "password"])
def test_an_empty_value_is_an_error_of_its_field(service: Service, field: str):
    answer = log_in(service, **{"email": EMAIL, "password": PASSWORD, field: ""})

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {field}


@pytest.mark.parametrize(
    ("email", "password"), [("a" * 250 + "@example.com", PASSWORD), (EMAIL, "x" * 1025), (EMAIL, "x" * 100_000)]
)
def test_what_is_too_long_is_refused_and_not_called_blank(service: Service, email: str, password: str):
    answer = log_in(service, email, password)

    assert answer.status_code in (400, 401)
    assert "blank" not in answer.text


def test_an_unknown_field_is_named(service: Service):
    answer = log_in(service, EMAIL, PASSWORD, remember=True)

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {"remember"}


@pytest.mark.parametrize("body", [[], "text", 1, None, True, [{"email": EMAIL, "password": PASSWORD}]])
def test_a_body_that_is_no_object_is_refused(service: Service, body: object):
    answer = service.post("/api/login_check", body if body is not None else b"null", token=None)

    assert_error(answer, 400, "Validation failed")


def test_other_users_log_in_and_disabled_ones_do_not(embedded: Service):
    made = embedded.user("create", "Reader@example.com", "--role", "read", password="a long password")
    assert made.returncode == 0, made.stderr
    assert log_in(embedded, "reader@example.com", "a long password").status_code == 200
    assert log_in(embedded, "reader@example.com", PASSWORD).status_code == 401

    disabled = embedded.user("disable", "reader@example.com")

    assert disabled.returncode == 0, disabled.stderr
    assert_error(log_in(embedded, "reader@example.com", "a long password"), 401, "Invalid credentials")


def test_a_password_hashed_with_other_parameters_is_hashed_anew_at_the_log_in(service: Service):
    # Given a user with a hash of before, and a token
    email = "rehashed@example.com"
    service.user("create", email, "--role", "read", password=PASSWORD)
    token = log_in(service, email, PASSWORD).json()["token"]
    engine = create_engine(str(service.settings.get("database_url") or f"sqlite:///{service.data / 'leads.db'}"))
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)

    def kept() -> str:
        with engine.connect() as connection:
            query = text("SELECT password_hash FROM users WHERE email = :email")
            return str(connection.execute(query, {"email": email}).scalar_one())

    with engine.begin() as connection:
        connection.execute(
            text("UPDATE users SET password_hash = :hash WHERE email = :email"), {"hash": old, "email": email}
        )

    # When it is used wrongly, then it stays; when rightly, then it is made anew and goes on being good
    assert log_in(service, email, "wrong").status_code == 401
    assert kept() == old
    assert log_in(service, email, PASSWORD).status_code == 200
    new = kept()
    assert "m=19456,t=2,p=1" in new
    assert log_in(service, email, PASSWORD).status_code == 200
    assert kept() == new
    assert log_in(service, email, "wrong").status_code == 401
    assert service.get("/api/leads", token=token).status_code == 200
    engine.dispose()
