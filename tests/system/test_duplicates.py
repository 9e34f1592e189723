"""Duplicates: leads of a person who came before are stored and marked, or refused, over the started service."""

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.servers import until
from tests.kit.service import Service

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {"duplicate_days": 30, "http_workers": 3}
    with Service(tmp_path_factory.mktemp("duplicates"), **settings) as started:
        yield started


def a_person(**changes: Any) -> dict[str, Any]:
    """Return a lead of a person who was never here."""
    number = next(_numbers)
    return a_lead(**{"email": f"grace{number}@example.com", "phone": f"+4930{number:07}"} | changes)


def post(service: Service, lead: dict[str, Any], key: str = "") -> dict[str, Any]:
    return assert_success(service.post("/api/leads", lead, key), 202)


def a_source(service: Service, *options: str) -> str:
    """Make a source; return its key once every process takes it."""
    done = service.run("ingest_api", "source", "create", f"partner-{next(_numbers)}", *options)
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    until(lambda: service.statuses("POST", "/api/leads", key, {}) == {400}, 15, 0.1)
    return key


def test_of_a_thousand_equal_leads_at_once_one_is_the_first(service: Service):
    # Given a person
    person = a_person()

    # When a thousand equal leads come at once, at all processes
    def send(_: int) -> dict[str, Any]:
        with httpx.Client(base_url=service.base_url, timeout=60) as client:
            answers = [client.post("/api/leads", json=person, headers=service.headers()) for _ in range(50)]
        return [assert_success(each, 202) for each in answers]

    with ThreadPoolExecutor(20) as pool:
        sent = [each for some in pool.map(send, range(20)) for each in some]

    # Then one of them is the first, and all others name it, in their 202 and in their rows
    (first,) = [each["id"] for each in sent if "duplicateOf" not in each]
    assert Counter(each.get("duplicateOf") for each in sent) == {None: 1, first: 999}
    service.wait_until_stored(*(each["id"] for each in sent))
    rows = service.walk(email=person["email"])
    assert Counter(each.get("duplicateOf") for each in rows) == {None: 1, first: 999}
    assert first in {each["id"] for each in rows if "duplicateOf" not in each}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"email": lambda person: person["email"].upper()},
        {"email": lambda person: f"other-{person['email']}"},
        {"phone": lambda person: person["phone"].removeprefix("+")},
        {"phone": lambda person: f"{person['phone']}9"},
    ],
    ids=["equal", "case", "same number", "no plus", "same address"],
)
def test_the_same_address_or_number_is_a_duplicate_in_any_form(service: Service, changes: dict[str, Any]):
    person = a_person()
    first = post(service, person)["id"]

    second = post(service, person | {name: change(person) for name, change in changes.items()})

    assert second["duplicateOf"] == first
    assert service.lead(second["id"])["duplicateOf"] == first
    service.wait_until_stored(second["id"])
    assert service.lead(second["id"])["duplicateOf"] == first


def test_another_person_is_no_duplicate(service: Service):
    one, other = post(service, a_person()), post(service, a_person())

    assert "duplicateOf" not in one
    assert "duplicateOf" not in other


def test_the_earlier_of_two_first_leads_is_named(service: Service):
    # Given two persons
    one, other = a_person(), a_person()
    first = post(service, one)["id"]
    post(service, other)

    # When a lead has the address of the later and the number of the earlier
    third = post(service, one | {"email": other["email"]})

    # Then the earlier is named
    assert third["duplicateOf"] == first


def test_a_duplicate_is_the_first_lead_of_what_is_new_in_it(service: Service):
    person, new_phone = a_person(), a_person()["phone"]
    post(service, person)
    second = post(service, person | {"phone": new_phone})

    third = post(service, a_person(phone=new_phone))

    assert third["duplicateOf"] == second["id"]


def test_the_same_lead_under_its_key_is_no_duplicate_of_itself(service: Service):
    # Given a lead and a duplicate of it, each with a key
    person = a_person()
    sent = [service.post("/api/leads", person, **{"Idempotency-Key": f"seen-{next(_numbers)}"}) for _ in range(2)]
    first, second = (assert_success(each, 202) for each in sent)

    # When both come again
    keys = [each.request.headers["Idempotency-Key"] for each in sent]
    again = [service.post("/api/leads", person, **{"Idempotency-Key": key}).json()["data"] for key in keys]

    # Then their answers are the same
    assert again == [first, second]
    assert "duplicateOf" not in first
    assert second["duplicateOf"] == first["id"]


def test_bulk_says_which_are_duplicates_also_within_itself(service: Service):
    # Given a person who was here, and one who is twice in a bulk
    known, new = a_person(), a_person()
    first = post(service, known)["id"]

    # When the bulk comes, and again under its key
    key = {"Idempotency-Key": f"bulk-{next(_numbers)}"}
    batch = [new, known, a_lead(email="no address"), new, a_person()]
    data = assert_success(service.post("/api/leads/bulk", batch, **key), 202)
    again = assert_success(service.post("/api/leads/bulk", batch, **key), 202)

    # Then both answers name the first leads
    results = data["results"]
    assert (data["accepted"], data["rejected"]) == (4, 1)
    assert [each.get("duplicateOf") for each in results] == [None, first, None, results[0]["id"], None]
    assert again == data


def test_a_source_may_have_duplicates_refused(service: Service):
    # Given a source that wants 409, with a daily cap, and a person who was here
    source = a_source(service, "--duplicates", "refuse", "--daily-cap", "2")
    person = a_person()
    first = post(service, person)["id"]

    # When it sends that person, alone and in a bulk
    alone = service.post("/api/leads", person, source)
    all_refused = service.post("/api/leads/bulk", [person, person], source)
    new = a_person()
    bulk = assert_success(service.post("/api/leads/bulk", [person, new, new], source), 202)

    # Then it gets 409 with the first lead, and nothing of it is stored or counted for the cap
    message = "A lead with this e-mail address or telephone number came before."
    assert assert_error(alone, 409, message)["errors"] == {"duplicateOf": [first]}
    assert assert_error(all_refused, 409, message)["errors"] == {"0.duplicateOf": [first], "1.duplicateOf": [first]}
    assert (bulk["accepted"], bulk["rejected"]) == (1, 2)
    accepted = bulk["results"][1]["id"]
    assert [each.get("errors") for each in bulk["results"]] == [
        {"duplicateOf": [first]},
        None,
        {"duplicateOf": [accepted]},
    ]
    service.wait_until_stored(accepted)
    assert [each["id"] for each in service.walk(email=person["email"])] == [first]
    assert service.post("/api/leads", a_person(), source).status_code == 202
    assert service.post("/api/leads", a_person(), source).status_code == 429


def test_an_import_goes_on_over_rows_that_are_refused(service: Service, tmp_path: Path):
    # Given a source that has duplicates refused, and a file whose first batch holds nothing else
    source = a_source(service, "--duplicates", "refuse")
    known, new = a_person(), a_person()
    first = post(service, known)["id"]
    file = tmp_path / "persons.csv"
    with file.open("w") as rows:
        table = csv.DictWriter(rows, known, extrasaction="ignore")
        table.writeheader()
        table.writerows([known, known, new])

    # When it is sent
    words = ("ingest_api", "import", str(file), "--url", service.base_url, "--source", "partner", "--batch", "2")
    done = service.run(*words, given=f"{source}\n", timeout=60)

    # Then the new person is accepted, and the others are rejects that name the first lead
    assert done.returncode == 0, done.stderr
    assert "1 rows accepted, 2 rejected" in done.stdout
    rejects = (tmp_path / "persons.rejects.csv").read_text()
    assert rejects.count(f"duplicateOf: {first}") == 2
    service.wait_until_nothing_waits()
    assert len(service.walk(email=new["email"])) == 1
    assert [each["id"] for each in service.walk(email=known["email"])] == [first]


def test_a_bulk_with_refused_leads_is_answered_the_same_again(service: Service):
    # Given a bulk with a key of a source that has duplicates refused
    name = f"partner-{next(_numbers)}"
    source = service.run("ingest_api", "source", "create", name, "--duplicates", "refuse").stdout.strip()
    until(lambda: service.statuses("POST", "/api/leads", source, {}) == {400}, 15, 0.1)
    person = a_person()
    post(service, person)
    batch, key = [person, a_person(), person], {"Idempotency-Key": f"refused-{next(_numbers)}"}
    data = assert_success(service.post("/api/leads/bulk", batch, source, **key), 202)
    assert ["errors" in each for each in data["results"]] == [True, False, True]

    # When it comes again after the source has decided otherwise
    assert service.run("ingest_api", "source", "change", name, "--duplicates", "mark").returncode == 0
    until(lambda: "duplicateOf" in service.post("/api/leads", person, source).json().get("data", {}), 15, 0.2)
    again = assert_success(service.post("/api/leads/bulk", batch, source, **key), 202)

    # Then what was refused is still refused
    assert again == data


def test_a_source_may_have_days_of_its_own(service: Service):
    unmarked = a_source(service, "--duplicate-days", "0")
    person = a_person()
    first = post(service, person)["id"]

    assert "duplicateOf" not in post(service, person, unmarked)
    assert post(service, person)["duplicateOf"] == first


def test_days_of_its_own_may_be_taken_back(service: Service):
    name = f"partner-{next(_numbers)}"
    service.run("ingest_api", "source", "create", name, "--duplicate-days", "7")
    assert "within 7 days" in service.run("ingest_api", "source", "show", name).stdout

    assert service.run("ingest_api", "source", "change", name, "--no-duplicate-days").returncode == 0

    assert "duplicates as for users, marked" in service.run("ingest_api", "source", "show", name).stdout


def test_without_the_setting_nothing_is_a_duplicate(embedded: Service):
    person = a_person(email="nobody-looks@example.com")

    assert "duplicateOf" not in post(embedded, person)
    assert "duplicateOf" not in post(embedded, person)


def test_a_person_is_shown_with_duplicates(service: Service):
    person = a_person()
    sent = [post(service, person) for _ in range(2)]
    service.wait_until_stored(*(each["id"] for each in sent))

    shown = service.run("schema", "person", "show", "--email", person["email"], timeout=60)

    assert shown.returncode == 0, shown.stderr
    rows = [line for line in map(json.loads, shown.stdout.splitlines()) if line["place"] == "row"]
    assert [(each["id"], each["duplicate_of"]) for each in rows] == [
        (sent[0]["id"], None),
        (sent[1]["id"], sent[0]["id"]),
    ]


def test_an_erased_person_is_new_again(service: Service):
    person = a_person()
    second = [post(service, person), post(service, person)][1]
    service.wait_until_stored(second["id"])

    erased = service.run("schema", "person", "erase", "--email", person["email"], "--yes", timeout=60)

    assert erased.returncode == 0, erased.stderr
    assert "duplicateOf" not in post(service, person)


def test_redis_that_has_lost_its_data_is_helped_by_the_database(tmp_path: Path):
    with Service(tmp_path, duplicate_days=30) as service:
        # Given a stored lead, and a queue that has lost everything
        person = a_person()
        first = post(service, person)["id"]
        service.wait_until_stored(first)
        service.stop()
        for path in (service.data / "redis").rglob("*"):
            if path.is_file():
                path.unlink()
        service.start()

        # When the person comes again, twice
        again = [post(service, person), post(service, person)]
        service.wait_until_stored(*(each["id"] for each in again))

        # Then the rows name the first lead, which the first 202 could not
        assert "duplicateOf" not in again[0]
        assert [service.lead(each["id"])["duplicateOf"] for each in again] == [first, first]
