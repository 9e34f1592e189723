"""Idempotency-Key on POST /api/leads and /api/leads/bulk"""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.service import Service

from . import raw
from .test_tokens import claims, signed


def key() -> str:
    return str(uuid.uuid4())


def send(service: Service, lead: dict, with_key: str, token: str = "") -> httpx.Response:
    return service.post("/api/leads", lead, token=token, Idempotency_Key=with_key)


def rows(service: Service, lead: dict) -> int:
    """Return how many rows a lead has, once all that is accepted is stored."""
    service.wait_until_stored(*service.accept(a_lead()))
    return int(service.page(email=lead["email"])["pagination"]["total"])


def test_the_same_key_and_body_are_one_lead(service: Service):
    lead, same = a_lead(), key()

    first = send(service, lead, same)
    service.wait_until_stored(first.json()["data"]["id"])
    again = [send(service, lead, same) for _ in range(3)]

    for answer in again:
        assert assert_success(answer, 202) == first.json()["data"]
        assert answer.headers["Location"] == first.headers["Location"]
    assert rows(service, lead) == 1


def test_a_hundred_at_once_are_one_lead(service: Service):
    lead, same = a_lead(), key()
    service.token()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: send(service, lead, same), range(100)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    assert rows(service, lead) == 1


def test_without_a_key_the_same_body_is_two_leads(service: Service):
    lead = a_lead()

    assert (
        service.post("/api/leads", lead).json()["data"]["id"] != service.post("/api/leads", lead).json()["data"]["id"]
    )

    assert rows(service, lead) == 2


def test_another_body_under_the_same_key_is_409(service: Service):
    lead, same = a_lead(), key()
    first = send(service, lead, same)

    assert_error(send(service, {**lead, "firstName": "Eve"}, same), 409)

    # And the first one is as good as before.
    assert send(service, lead, same).json()["data"]["id"] == first.json()["data"]["id"]
    assert rows(service, lead) == 1


def test_the_same_body_may_be_written_in_another_way(service: Service):
    lead, same = a_lead(), key()
    first = send(service, lead, same)
    other = json.dumps(dict(reversed(lead.items())), indent=3).encode()

    again = service.post("/api/leads", other, Idempotency_Key=same)

    assert assert_success(again, 202)["id"] == first.json()["data"]["id"]


def test_another_user_may_use_the_same_key(service: Service):
    lead, same = a_lead(), key()
    other = signed(service, claims(sub="other@example.com"))

    mine, theirs = send(service, lead, same), send(service, lead, same, token=other)

    assert mine.json()["data"]["id"] != theirs.json()["data"]["id"]
    assert rows(service, lead) == 2


def test_a_broken_lead_does_not_use_up_its_key(service: Service):
    lead, same = a_lead(), key()
    assert_error(send(service, {**lead, "phone": "0"}, same), 400, "Validation failed")

    assert_success(send(service, lead, same), 202)


@pytest.mark.parametrize("good", ["x", "!", "~" * 255, "\"'\\{}%00:*", "a-b_c.d/e"])
def test_visible_ascii_is_a_key(service: Service, good: str):
    lead = a_lead()

    first, again = send(service, lead, good + key()[: 255 - len(good)]), None
    if len(good) == 255:
        again = send(service, lead, good)
        assert first.json()["data"]["id"] == again.json()["data"]["id"]
    assert first.status_code == 202


@pytest.mark.parametrize("bad", [b" ", b"a b", b"a\tb", b"x" * 256, b"\xc3\xa9", b"\xff", b"x" * 5000])
def test_a_malformed_key_is_400(service: Service, bad: bytes):
    request = raw.request(service, "POST", "/api/leads", json.dumps(a_lead()).encode(), Idempotency_Key=bad)

    assert_error(raw.exchange(service, request), 400)


def test_keys_differ_in_case(service: Service):
    lead, same = a_lead(), "k" + key()

    first, other = send(service, lead, same), send(service, lead, same.upper())

    assert first.json()["data"]["id"] != other.json()["data"]["id"]


def send_bulk(service: Service, leads: list, with_key: str) -> httpx.Response:
    return service.post("/api/leads/bulk", leads, Idempotency_Key=with_key)


def test_a_bulk_sent_again_with_its_key_is_answered_with_the_same_ids_and_stored_once(service: Service):
    leads, same = [a_lead(), {}, a_lead(), a_lead()], key()

    first = assert_success(send_bulk(service, leads, same), 202)
    queued = assert_success(send_bulk(service, leads, same), 202)
    ids = [result["id"] for result in first["results"] if "id" in result]
    service.wait_until_stored(*ids)
    stored = assert_success(send_bulk(service, leads, same), 202)

    assert first == queued == stored
    assert (first["accepted"], first["rejected"], len(set(ids))) == (3, 1, 3)
    assert [service.lead(each)["email"] for each in ids] == [leads[at]["email"] for at in (0, 2, 3)]
    assert [rows(service, leads[at]) for at in (0, 2, 3)] == [1, 1, 1]


def test_a_bulk_sent_many_times_at_once_is_stored_once(service: Service):
    leads, same = [a_lead() for _ in range(50)], key()
    service.token()

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: send_bulk(service, leads, same), range(20)))

    assert {answer.status_code for answer in answers} == {202}
    first = answers[0].json()["data"]
    assert all(answer.json()["data"] == first for answer in answers)
    assert [rows(service, lead) for lead in (leads[0], leads[-1])] == [1, 1]


def test_another_bulk_under_the_same_key_is_409(service: Service):
    leads, same = [a_lead(), a_lead()], key()
    send_bulk(service, leads, same)

    assert_error(send_bulk(service, leads[:1], same), 409)
    assert_error(send_bulk(service, leads[::-1], same), 409)
    assert_error(send(service, leads[0], same), 409)


def test_leads_of_a_bulk_with_a_key_keep_their_order(service: Service):
    leads = [a_lead(phone="+4930123123") for _ in range(100)]
    ids = [result["id"] for result in send_bulk(service, leads, key()).json()["data"]["results"]]

    assert ids == sorted(ids)
    service.wait_until_stored(*ids)
    listed = service.walk(phone="+4930123123", sortOrder="ASC")
    assert [each["id"] for each in listed if each["id"] in set(ids)] == ids


def test_a_malformed_key_of_a_bulk_is_400(service: Service):
    assert_error(send_bulk(service, [a_lead()], "a b"), 400, "Validation failed")
