"""/api/dead-letters: for administrators alone."""

import pytest

from .leads import assert_error, assert_success
from .service import Service
from .test_tokens import claims, signed


@pytest.fixture
def admin(service: Service) -> str:
    return signed(service, claims(sub="admin@example.com", roles=["admin"]))


def test_where_nothing_went_wrong_there_are_none(service: Service, admin: str):
    data = assert_success(service.get("/api/dead-letters", token=admin), 200)

    assert data == {"items": [], "total": 0, "next": None}


def test_others_see_and_replay_nothing(service: Service):
    assert_error(service.get("/api/dead-letters"), 403, "Invalid JWT Token")
    assert_error(service.get("/api/dead-letters", token=None), 401, "JWT Token not found")
    assert_error(service.post("/api/dead-letters/replay", {"all": True}), 403, "Invalid JWT Token")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "after=x", "after=", "page=1", "limit=1&limit=1"])
def test_a_wrong_parameter_is_named(service: Service, admin: str, query: str):
    answer = service.get(f"/api/dead-letters?{query}", token=admin)

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {query.split("=")[0]}
