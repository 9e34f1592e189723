"""/api/dead-letters: for administrators alone."""

import pytest
from sqlalchemy import make_url

from tests.kit.databases import DatabaseServer
from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.servers import until
from tests.kit.service import Service

from .test_tokens import claims, signed


@pytest.fixture
def admin(service: Service) -> str:
    return signed(service, claims(roles=["admin"]))


def test_where_nothing_went_wrong_there_are_none(service: Service, admin: str):
    data = assert_success(service.get("/api/dead-letters", token=admin), 200)

    assert data == {"items": [], "total": 0, "next": None, "reasons": {}, "reasons_of": 0}


def test_others_see_and_replay_nothing(service: Service):
    assert_error(service.get("/api/dead-letters"), 403, "Invalid JWT Token")
    assert_error(service.get("/api/dead-letters", token=None), 401, "JWT Token not found")
    assert_error(service.post("/api/dead-letters/replay", {"all": True}), 403, "Invalid JWT Token")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "after=x", "after=", "reason=", "page=1", "limit=1&limit=1"]
)
def test_a_wrong_parameter_is_named(service: Service, admin: str, query: str):
    answer = service.get(f"/api/dead-letters?{query}", token=admin)

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {query.split("=")[0]}


def test_what_the_database_refused_is_replayed_once_it_no_longer_does(
    production: Service, database_server: DatabaseServer
):
    # Given a database that refuses one kind of lead
    admin = signed(production, claims(roles=["admin"]))
    database = make_url(str(production.settings["database_url"])).database
    database_server.execute(
        f"CREATE TRIGGER {database}.refusal BEFORE INSERT ON {database}.leads FOR EACH ROW "
        "IF NEW.first_name = 'Refused' THEN SIGNAL SQLSTATE '45000'; END IF"
    )
    try:
        good, bad, worse = production.accept(a_lead(), a_lead(firstName="Refused"), a_lead(firstName="Refused"))
        production.wait_until_nothing_waits()

        # Then those are dead letters with their reason, and can still be found
        data = assert_success(production.get("/api/dead-letters", token=admin), 200)
        assert {item["id"]: item["reason"] for item in data["items"]} == dict.fromkeys(
            (bad, worse), "OperationalError 1644"
        )
        assert (data["reasons"], data["reasons_of"]) == ({"OperationalError 1644": 2}, 2)
        first = data["items"][0]["letter"]
        rest = production.get(f"/api/dead-letters?after={first}", token=admin).json()["data"]
        assert len(rest["items"]) == 1
        assert "reasons" not in rest
        ones = production.get("/api/dead-letters?limit=1&reason=OperationalError%201644", token=admin).json()["data"]
        others = production.get("/api/dead-letters?reason=Other", token=admin).json()["data"]
        assert (len(ones["items"]), ones["next"], ones["total"]) == (1, ones["items"][0]["letter"], 2)
        assert (others["items"], others["next"], others["reasons"]) == ([], None, data["reasons"])
        assert production.lead(good)["state"] == "stored"
        assert production.lead(bad)["state"] == "queued"
    finally:
        database_server.execute(f"DROP TRIGGER {database}.refusal")

    # When one of them is replayed twice, and then all
    one = {"letter": data["items"][0]["letter"]}
    replays = [production.post("/api/dead-letters/replay", body, token=admin) for body in (one, one, {"all": True})]

    # Then each goes back once, and is stored once
    assert [answer.status_code for answer in replays] == [200, 404, 200]
    assert [answer.json()["data"]["replayed"] for answer in (replays[0], replays[2])] == [1, 1]
    production.wait_until_stored(bad, worse)
    # A lead counts twice between its COMMIT and its removal from the queue.
    until(lambda: (ledger := production.ledger())["dead"] == ledger["imbalance"] == 0)
