"""Duplicates in lists, exports and statistics, over the started service."""

import csv
import io
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.servers import until
from tests.kit.service import Service

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("duplicates_read"), duplicate_days=30) as started:
        yield started


def a_person(**changes: Any) -> dict[str, Any]:
    """Return a lead of a person who was never here."""
    number = next(_numbers)
    return a_lead(**{"email": f"joan{number}@example.com", "phone": f"+4940{number:07}"} | changes)


def a_source(service: Service) -> tuple[str, str]:
    """Make a source that may read and export; return its name and key once every process takes it."""
    name = f"reader-{next(_numbers)}"
    roles = [word for role in ("ingest", "read", "export") for word in ("--role", role)]
    done = service.run("ingest_api", "source", "create", name, *roles)
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    until(lambda: service.statuses("POST", "/api/leads", key, {}) == {400}, 15, 0.1)
    return name, key


def send(service: Service, *leads: dict[str, Any], key: str = "") -> list[str]:
    """Send leads one after the other; return their ids once they are stored."""
    found = [assert_success(service.post("/api/leads", lead, key), 202)["id"] for lead in leads]
    service.wait_until_stored(*found)
    return found


def ids(leads: list[dict[str, Any]]) -> list[str]:
    return [each["id"] for each in leads]


def stats(service: Service, key: str = "", **parameters: object) -> dict[str, Any]:
    return assert_success(service.get("/api/leads/stats", key, params=parameters), 200)


def test_lists_leave_duplicates_out_or_have_them_alone(service: Service):
    # Given two persons who came, and one of them again, by address and by number
    ada, bob = a_person(firstName="Ada"), a_person(firstName="Bob")
    first, other, second, third = send(
        service, ada, bob, ada | {"phone": a_person()["phone"], "firstName": "Zoe"}, a_person(phone=ada["phone"])
    )
    total = {way: service.page(duplicates=way)["pagination"]["total"] for way in ("exclude", "only")}

    # Then each list has its own, in each order, by page and by cursor, and its number
    assert sum(total.values()) == service.page()["pagination"]["total"]
    for order, turn in (("ASC", 1), ("DESC", -1)):
        alone = service.walk(duplicates="only", createdFrom="2020-01-01", sortOrder=order)
        assert ids(alone)[::turn][-2:] == [second, third]
        assert [each["duplicateOf"] for each in alone][::turn][-2:] == [first, first]
        without = service.walk(duplicates="exclude", sortOrder=order)
        assert ids(without)[::turn][-2:] == [first, other]
        assert (len(alone), len(without)) == (total["only"], total["exclude"])
        assert not any("duplicateOf" in each for each in without)
    by_name = service.page(duplicates="only", sortBy="firstName", limit=100)["items"]
    assert [each["firstName"] for each in by_name] == sorted((each["firstName"] for each in by_name), reverse=True)
    assert ids(service.page(duplicates="exclude", page=2, limit=1)["items"]) == [first]

    # And other filters narrow them
    assert ids(service.page(duplicates="only", email=ada["email"])["items"]) == [second]
    assert ids(service.page(duplicates="exclude", phone=ada["phone"])["items"]) == [first]
    assert service.page(duplicates="only", createdTo="2020-01-01")["pagination"]["total"] == 0


def test_a_list_without_duplicates_is_another_list(service: Service):
    person = a_person()
    send(service, person, person, person, a_person(), a_person())

    # Given the cursors and tags of lists that differ in this alone
    answers = [
        service.get("/api/leads", params={"limit": 1, **way})
        for way in ({}, {"duplicates": "only"}, {"duplicates": "exclude"})
    ]
    assert len({each.headers["ETag"] for each in answers}) == 3
    cursors = [each.json()["data"]["pagination"]["next_cursor"] for each in answers]

    # Then none is good for another
    for cursor in (cursors[0], cursors[2]):
        answer = service.get("/api/leads", params={"limit": 1, "duplicates": "only", "cursor": cursor})
        assert list(assert_error(answer, 400, "Validation failed")["errors"]) == ["cursor"]
    tag = answers[1].headers["ETag"]
    again = service.get("/api/leads", params={"limit": 1, "duplicates": "only"}, headers={"If-None-Match": tag})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/api/leads", "/api/leads/export"])
@pytest.mark.parametrize("value", ["", "ONLY", "true", "include"])
def test_a_word_that_is_none_is_a_400(service: Service, path: str, value: str):
    answer = service.get(path, params={"duplicates": value})

    errors = assert_error(answer, 400, "Validation failed")["errors"]
    assert errors == {"duplicates": ["This value should be one of exclude, only."]}


def test_an_export_says_what_is_a_duplicate_of_what(service: Service):
    person = a_person()
    first, second = send(service, person, person)

    def exported(**parameters: str) -> str:
        answer = service.get("/api/leads/export", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.text

    # In CSV in the last column
    table = exported(email=person["email"])
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert table.splitlines()[0].endswith(",duplicateOf")
    assert [(row["id"], row["duplicateOf"]) for row in rows] == [(first, ""), (second, first)]
    # And both formats have the leads of the list
    for way in ("exclude", "only"):
        wanted = ids(service.walk(duplicates=way, sortOrder="ASC"))
        lines = exported(duplicates=way, format="ndjson").splitlines()
        assert ids([json.loads(line) for line in lines]) == wanted
        found = csv.DictReader(io.StringIO(exported(duplicates=way), newline=""))
        assert [row["id"] for row in found] == wanted


def test_statistics_count_stored_duplicates(service: Service):
    # Given a source, and duplicates of it and of users
    name, key = a_source(service)
    before = stats(service, interval="day")
    person = a_person()
    send(service, person, person, person)
    send(service, person, a_person(), key=key)

    # Then there are three of all, and one of the source, by hour and day
    for interval in ("hour", "day"):
        after = stats(service, interval=interval)
        assert after["duplicates"] == sum(each["duplicates"] for each in after["items"])
        own = stats(service, interval=interval, source=name)
        assert (own["accepted"], own["stored"], own["duplicates"]) == (2, 2, 1)
        assert sum(each["duplicates"] for each in own["items"]) == 1
        assert stats(service, key, interval=interval)["duplicates"] == 1
    assert stats(service, interval="day")["duplicates"] == before["duplicates"] + 3
    assert stats(service, interval="day")["duplicates"] == service.page(duplicates="only")["pagination"]["total"]
    # And not by minute
    by_minute = stats(service, interval="minute")
    assert "duplicates" not in by_minute
    assert not any("duplicates" in each for each in by_minute["items"])
    assert service.run("schema", "counts").stdout == "The counts equal the rows.\n"


def test_a_source_reads_its_own_duplicates_alone(service: Service):
    # Given a person whom a user, a source and another source send
    (name, key), (_, other) = a_source(service), a_source(service)
    person = a_person()
    (first,) = send(service, person)
    mine = send(service, a_person(), person, person, key=key)
    send(service, person, a_person(), key=other)

    # Then the source sees what it sent, and of which lead it is a duplicate
    def listed(**parameters: object) -> list[dict[str, Any]]:
        data = assert_success(service.get("/api/leads", key, params={"sortOrder": "ASC", **parameters}), 200)
        assert data["pagination"]["total"] == len(data["items"])
        return list(data["items"])

    assert ids(listed(duplicates="exclude")) == mine[:1]
    assert ids(listed(duplicates="only")) == mine[1:]
    assert {each["duplicateOf"] for each in listed(duplicates="only")} == {first}
    assert ids(listed(duplicates="only", createdFrom="2020-01-01", email=person["email"])) == mine[1:]
    text = service.get("/api/leads/export", key, params={"duplicates": "only", "format": "ndjson"}).text
    assert ids([json.loads(line) for line in text.splitlines()]) == mine[1:]
    assert ids(service.walk(source=name, duplicates="only", sortOrder="ASC")) == mine[1:]
    assert service.get(f"/api/leads/{first}", key).status_code == 404
