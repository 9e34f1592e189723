"""POST /api/leads/bulk"""

import json
from typing import Any

import pytest

from tests.kit.leads import NOT_EMAIL, a_lead, assert_error, assert_success
from tests.kit.servers import until
from tests.kit.service import Service

NDJSON = "application/x-ndjson"


def ndjson(*items: object, end: str = "\n") -> bytes:
    return "".join((item if isinstance(item, str) else json.dumps(item)) + end for item in items).encode()


def sent(service: Service, form: str, *leads: object) -> Any:
    """Send leads in one form or the other."""
    if form == "ndjson":
        return service.post("/api/leads/bulk", ndjson(*leads), Content_Type=NDJSON)
    return service.post("/api/leads/bulk", list(leads))


@pytest.fixture(params=["array", "ndjson"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_leads_are_accepted_in_their_order_and_stored(service: Service, form: str):
    leads = [a_lead(firstName=f"Bulk{number}") for number in range(5)]

    data = assert_success(sent(service, form, *leads), 202)

    assert (data["accepted"], data["rejected"]) == (5, 0)
    assert [result["index"] for result in data["results"]] == [0, 1, 2, 3, 4]
    assert all(result.keys() == {"index", "id"} for result in data["results"])
    ids = [result["id"] for result in data["results"]]
    assert ids == sorted(set(ids))
    service.wait_until_stored(*ids)
    for each, lead in zip(ids, leads, strict=True):
        found = service.lead(each)
        assert {name: found[name] for name in lead} == lead


def test_the_broken_ones_are_named_and_the_others_accepted(service: Service, form: str):
    data = assert_success(
        sent(service, form, a_lead(email="x"), a_lead(), {}, a_lead(age=1), 5, None, [], a_lead(), "text"), 202
    )

    assert (data["accepted"], data["rejected"]) == (2, 7)
    results = data["results"]
    assert [result["index"] for result in results] == list(range(9))
    assert [result["index"] for result in results if "id" in result] == [1, 7]
    assert results[0]["errors"] == {"email": [NOT_EMAIL]}
    assert results[2]["errors"].keys() == {"firstName", "lastName", "email", "phone", "dateOfBirth"}
    assert results[3]["errors"].keys() == {"age"}
    for result in results:
        assert result.keys() in ({"index", "id"}, {"index", "errors"})
        assert all(isinstance(each, str) for messages in result.get("errors", {}).values() for each in messages)
    service.wait_until_stored(results[1]["id"], results[7]["id"])


def test_a_line_that_is_no_json_spoils_itself_alone(service: Service):
    body = ndjson(a_lead(), '{"firstName": ', "{}}", '{"a": "\\ud800"}', a_lead()) + b"\xff\xfe\n" + b"[" * 50_000

    data = assert_success(service.post("/api/leads/bulk", body, Content_Type=NDJSON), 202)

    assert [result["index"] for result in data["results"] if "id" in result] == [0, 4]
    assert (data["accepted"], data["rejected"]) == (2, 5)


def test_lines_may_end_in_crlf_and_the_last_one_in_nothing(service: Service):
    leads = [a_lead(), a_lead()]

    for body in (ndjson(*leads, end="\r\n"), ndjson(*leads).rstrip(b"\n"), ndjson(*leads) + b"\n\n \n"):
        data = assert_success(service.post("/api/leads/bulk", body, Content_Type=NDJSON), 202)

        assert (data["accepted"], data["rejected"]) == (2, 0)


def test_none_valid_is_400(service: Service, form: str):
    body = assert_error(sent(service, form, a_lead(email="x"), {}, 5), 400, "Validation failed")

    assert body["errors"]


@pytest.mark.parametrize("body", [b"{}", b"null", b"5", b'"text"', b"[]", b"true"])
def test_an_array_with_something_in_it_is_asked_for(service: Service, body: bytes):
    assert_error(service.post("/api/leads/bulk", body), 400, "Validation failed")


@pytest.mark.parametrize("body", [b"", b"\n\n", b" \r\n"])
def test_no_line_at_all_is_400(service: Service, body: bytes):
    assert_error(service.post("/api/leads/bulk", body, Content_Type=NDJSON), 400, "Validation failed")


def test_a_thousand_leads_are_taken_and_all_stored(service: Service, form: str):
    phone = {"array": "+441000", "ndjson": "+442000"}[form]
    leads = [a_lead(phone=phone, additionalData={"n": number}) for number in range(1000)]

    data = assert_success(sent(service, form, *leads), 202)

    assert data["accepted"] == 1000
    until(lambda: service.page(phone=phone)["pagination"]["total"] == 1000)
    assert {each["id"] for each in service.walk(phone=phone)} == {result["id"] for result in data["results"]}


def test_a_thousand_and_one_are_refused_as_a_whole(service: Service, form: str):
    lead = a_lead()
    answer = sent(service, form, *[lead] * 1001)

    assert_error(answer, 400, "Validation failed")
    marker = service.accept(a_lead())
    service.wait_until_stored(*marker)
    assert service.page(email=lead["email"])["pagination"]["total"] == 0


def test_the_same_lead_twice_is_two_leads(service: Service, form: str):
    lead = a_lead()

    data = assert_success(sent(service, form, lead, lead), 202)

    service.wait_until_stored(*(result["id"] for result in data["results"]))
    assert service.page(email=lead["email"])["pagination"]["total"] == 2
