"""A user who is changed or gone: tokens of before end within seconds, and the right ones go on."""

import itertools
import time

import httpx
import pytest

from tests.kit.leads import a_lead, assert_error
from tests.kit.servers import until
from tests.kit.service import Service

from .test_tokens import claims, signed

PASSWORD, OTHER = "a long password", "another password"

# Longest time (seconds) until a token has ended.
SECONDS = 15

_numbers = itertools.count(1)


@pytest.fixture
def user(service: Service) -> str:
    """A user of this test's own, who may send and read."""
    email = f"gone{next(_numbers)}-{int(time.time())}@example.com"
    change(service, "create", email, "--role", "ingest", "--role", "read", password=PASSWORD)
    return email


def change(service: Service, *arguments: str, password: str = "") -> None:
    done = service.user(*arguments, password=password)
    assert done.returncode == 0, done.stderr


def log_in(service: Service, email: str, password: str = PASSWORD) -> httpx.Response:
    return service.post("/api/login_check", {"email": email, "password": password}, token=None)


def token_of(service: Service, email: str, password: str = PASSWORD) -> str:
    answer = log_in(service, email, password)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def assert_ends(service: Service, token: str) -> None:
    """Check that every process refuses the token soon, and for good."""
    calm = 10
    until(lambda: all(service.get("/api/leads", token=token).status_code == 403 for _ in range(calm)), SECONDS, 0.1)
    assert_error(service.get("/api/leads", token=token), 403, "Invalid JWT Token")
    assert_error(service.post("/api/leads", a_lead(), token=token), 403, "Invalid JWT Token")


def test_a_disabled_users_token_ends_and_stays_so_when_the_user_is_enabled(service: Service, user: str):
    token, others = token_of(service, user), service.token()
    assert service.get("/api/leads", token=token).status_code == 200

    change(service, "disable", user)

    assert_ends(service, token)
    assert_error(log_in(service, user), 401, "Invalid credentials")
    assert service.get("/api/leads", token=others).status_code == 200

    # Another password does not enable, and what was ended stays ended
    change(service, "passwd", user, password=OTHER)
    assert_error(log_in(service, user, OTHER), 401, "Invalid credentials")
    change(service, "enable", user)
    for _ in range(10):
        assert service.get("/api/leads", token=token_of(service, user, OTHER)).status_code == 200
    assert_error(service.get("/api/leads", token=token), 403, "Invalid JWT Token")


def test_another_password_ends_the_token_and_the_new_one_is_good_at_once(service: Service, user: str):
    token = token_of(service, user)

    change(service, "passwd", user, password=OTHER)

    for _ in range(10):
        assert service.get("/api/leads", token=token_of(service, user, OTHER)).status_code == 200
    assert_ends(service, token)
    assert_error(log_in(service, user), 401, "Invalid credentials")


def test_other_roles_end_the_token_and_hold_from_the_next_log_in_on(service: Service, user: str):
    token = token_of(service, user)
    assert service.get("/api/leads", token=token).status_code == 200

    change(service, "roles", user, "--role", "ingest")

    assert_ends(service, token)
    new = token_of(service, user)
    assert service.post("/api/leads", a_lead(), token=new).status_code == 202
    assert_error(service.get("/api/leads", token=new), 403, "Invalid JWT Token")


def test_a_deleted_users_token_ends_and_stays_so_when_the_user_is_made_again(service: Service, user: str):
    token = token_of(service, user)

    change(service, "delete", user)

    assert_ends(service, token)
    assert_error(log_in(service, user), 401, "Invalid credentials")
    change(service, "create", user, "--role", "read", password=PASSWORD)
    for _ in range(10):
        assert service.get("/api/leads", token=token_of(service, user)).status_code == 200
    assert_error(service.get("/api/leads", token=token), 403, "Invalid JWT Token")


def test_a_token_for_a_user_who_never_was_ends(service: Service):
    assert_ends(service, signed(service, claims(sub="ghost@example.com")))


def test_a_token_of_release_0_1_goes_on_until_its_user_changes(service: Service, user: str):
    token = signed(service, claims(sub=user))
    assert service.get("/api/leads", token=token).status_code == 200

    change(service, "passwd", user, password=OTHER)

    assert_ends(service, token)
