"""Idempotency-Key on POST /api/leads"""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from . import raw
from .leads import a_lead, assert_error, assert_success
from .service import Service
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
