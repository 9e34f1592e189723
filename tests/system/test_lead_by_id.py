"""GET /api/leads/{id}"""

import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.service import Service

from . import raw


def test_a_lead_is_found_from_the_moment_of_its_202(service: Service):
    for _ in range(30):
        made = assert_success(service.post("/api/leads", a_lead()), 202)

        found = assert_success(service.get(f"/api/leads/{made['id']}"), 200)

        assert found["state"] in ("queued", "stored")
        assert {**found, "state": "queued"} == made


def test_a_lead_never_vanishes_on_its_way_from_the_queue_to_the_table(service: Service):
    (lead,) = service.accept(a_lead())
    states = []

    while not states or states[-1] == "queued":
        states.append(service.lead(lead)["state"])

    assert set(states) <= {"queued", "stored"}
    assert service.lead(lead)["state"] == "stored"


def test_a_lead_looks_the_same_by_itself_and_in_the_list(service: Service):
    lead = a_lead(additionalData={"b": 1, "a": [None, 2.50]})
    (made,) = service.accept(lead)
    service.wait_until_stored(made)

    alone = service.get(f"/api/leads/{made}").json()["data"]

    assert service.page(email=lead["email"])["items"] == [alone]


def test_an_id_is_taken_in_either_case(service: Service):
    (made,) = service.accept(a_lead())

    assert service.lead(made.upper())["id"] == made


@pytest.mark.parametrize(
    "lead_id",
    [
        "01a20469-8d21-74b8-89d6-f73e33b9e6f5",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "0190f5a0-1c2d-4e3f-8a4b-5c6d7e8f9a0b",
        "1",
        "x",
        "01a204698d2174b889d6f73e33b9e6f5",
        "{01a20469-8d21-74b8-89d6-f73e33b9e6f5}",
        "urn:uuid:01a20469-8d21-74b8-89d6-f73e33b9e6f5",
        "01a20469-8d21-74b8-89d6-f73e33b9e6fg",
        "01a20469-8d21-74b8-89d6-f73e33b9e6f5%20",
        "01a20469-8d21-74b8-89d6-f73e33b9e6f",
        "-" * 36,
        "٠" * 36,
        "0" * 36,
        "a" * 5000,
        "%00",
        "%ff",
        "..%2f..",
        "%F0%9F%98%80",
        "' OR 1=1--",
        "null",
    ],
    ids=lambda lead_id: ascii(lead_id[:40]),
)
def test_an_unknown_or_malformed_id_is_404(service: Service, lead_id: str):
    path = f"/api/leads/{lead_id}".replace(" ", "%20").replace("٠", "%D9%A0")

    answer = raw.exchange(service, raw.request(service, "GET", path), method="GET")

    assert_error(answer, 404)
