"""GET /api/leads: email, phone, createdFrom and createdTo."""

from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote

import pytest

from tests.kit.leads import a_lead, assert_error
from tests.kit.service import Service


def ids(service: Service, **parameters: object) -> list[str]:
    return [each["id"] for each in service.page(limit=100, **parameters)["items"]]


def stored(service: Service, *leads: dict) -> list[str]:
    made = service.accept(*leads)
    service.wait_until_stored(*made)
    return made


def test_an_address_finds_its_leads_alone(service: Service):
    lead = a_lead()
    made = stored(service, lead, a_lead(), a_lead(email=lead["email"], firstName="Bob"))

    assert ids(service, email=lead["email"]) == [made[2], made[0]]
    data = service.page(email=lead["email"], limit=1)
    assert data["pagination"]["total"] == 2
    assert data["pagination"]["total_pages"] == 2


def test_a_telephone_number_finds_its_leads_alone(service: Service):
    made = stored(service, a_lead(phone="+4930111"), a_lead(phone="4930111"), a_lead(phone="+4930112"))

    assert made[0] in ids(service, phone="+4930111")
    assert made[1] not in ids(service, phone="+4930111")
    assert made[1] in ids(service, phone="4930111")


def test_both_filters_together_find_what_matches_both(service: Service):
    email = a_lead()["email"]
    made = stored(service, a_lead(email=email, phone="+4930221"), a_lead(email=email, phone="+4930222"))

    assert ids(service, email=email, phone="+4930222") == [made[1]]


@pytest.mark.parametrize("change", ["{}\x00", "%", "_", "' OR '1'='1", "é{}", "{}é", "*", "😀"])
def test_a_filter_compares_the_whole_value(service: Service, change: str):
    lead = a_lead()
    stored(service, lead)

    answer = service.get("/api/leads", params={"email": change.format(lead["email"])})

    if answer.status_code != 200:
        assert_error(answer, 400, "Validation failed")
    else:
        assert answer.json()["data"]["items"] == []
        assert answer.json()["data"]["pagination"]["total"] == 0


def test_blanks_around_an_address_do_not_count(service: Service):
    lead = a_lead()
    made = stored(service, lead)

    for blanks in ("{} ", " {}", "  {}  "):
        assert ids(service, email=blanks.format(lead["email"])) == made


def test_an_empty_filter_is_named(service: Service):
    for name in ("email", "phone", "createdFrom", "createdTo"):
        assert assert_error(service.get(f"/api/leads?{name}="), 400)["errors"].keys() == {name}


@pytest.mark.parametrize("sort", ["createdAt", "firstName", "lastName", "email"])
def test_a_filtered_list_can_be_sorted(service: Service, sort: str):
    email = a_lead()["email"]
    leads = [a_lead(email=email, firstName=first, lastName=first[::-1]) for first in ("Ca", "Ab", "Bc", "Ab", "Da")]
    made = stored(service, *leads)
    key = {
        "createdAt": lambda lead: lead["id"],
        "email": lambda lead: lead["id"],
        "firstName": lambda lead: (lead["firstName"], lead["id"]),
        "lastName": lambda lead: (lead["lastName"], lead["id"]),
    }[sort]
    expected = sorted(({**lead, "id": each} for lead, each in zip(leads, made, strict=True)), key=key)

    up = ids(service, email=email, sortBy=sort, sortOrder="ASC")

    assert up == [each["id"] for each in expected]
    assert ids(service, email=email, sortBy=sort, sortOrder="DESC") == up[::-1]
    pages = [service.page(email=email, sortBy=sort, sortOrder="ASC", limit=2, page=page) for page in (1, 2, 3, 4)]
    assert [each["id"] for page in pages for each in page["items"]] == up


def test_times_bound_the_list_on_both_sides_inclusively(service: Service):
    made = stored(service, *[a_lead() for _ in range(5)])
    times = [service.lead(each)["createdAt"] for each in made]

    for sort in ("createdAt", "email"):
        assert ids(service, createdFrom=times[1], createdTo=times[3], sortOrder="ASC", sortBy=sort) == made[1:4]
    assert ids(service, createdFrom=times[2], createdTo=times[2]) == [made[2]]
    assert service.page(createdFrom=times[1], createdTo=times[3])["pagination"]["total"] == 3
    assert set(made[2:]) <= set(ids(service, createdFrom=times[2]))
    assert not set(made[:2]) & set(ids(service, createdFrom=times[2]))


@pytest.mark.parametrize("sort", ["createdAt", "email"])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_times_bound_each_page_and_each_order(service: Service, sort: str, limit: int):
    email = a_lead()["email"]
    made = stored(service, *[a_lead(email=email) for _ in range(9)])
    bounds = {f"created{end}": service.lead(made[at])["createdAt"] for end, at in (("From", 2), ("To", 6))}

    for order, expected in (("ASC", made[2:7]), ("DESC", made[6:1:-1])):
        pages = [
            service.page(**bounds, sortBy=sort, sortOrder=order, limit=limit, page=page)
            for page in range(1, -(-5 // limit) + 2)
        ]
        assert [each["id"] for page in pages for each in page["items"]] == expected
        assert [each["id"] for each in service.walk(**bounds, sortBy=sort, sortOrder=order)] == expected
        assert {page["pagination"]["total"] for page in pages} == {5}


def test_times_may_have_another_offset(service: Service):
    (lead,) = stored(service, a_lead())
    moment = datetime.fromisoformat(service.lead(lead)["createdAt"])

    for offset in (timedelta(hours=5, minutes=30), timedelta(hours=-8)):
        local = moment.astimezone(timezone(offset)).isoformat()
        found = service.get(f"/api/leads?createdFrom={quote(local)}&createdTo={quote(local)}").json()["data"]["items"]

        assert [each["id"] for each in found] == [lead]


def test_a_date_means_the_whole_day_in_utc(service: Service):
    (lead,) = stored(service, a_lead())
    today = service.lead(lead)["createdAt"][:10]
    tomorrow = datetime.fromisoformat(today).date() + timedelta(days=1)
    yesterday = tomorrow - timedelta(days=2)

    assert lead in ids(service, createdFrom=today, createdTo=today)
    assert lead not in ids(service, createdTo=yesterday)
    assert ids(service, createdFrom=tomorrow) == []


def test_a_range_that_holds_nothing_is_empty(service: Service):
    early = service.page(createdTo="1999-12-31")
    late = service.page(createdFrom="2999-01-01")

    assert early["items"] == late["items"] == []
    assert early["pagination"]["total"] == late["pagination"]["total"] == 0


@pytest.mark.parametrize("sort", ["createdAt", "firstName", "lastName", "email"])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("1970-01-01", "9999-12-31"),
        ("1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
        ("1970-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"),
        ("1900-01-01", "2999-01-01"),
        ("0001-01-01T00:00:00Z", "2999-01-01"),
    ],
)
def test_a_range_around_everything_holds_everything(service: Service, start: str, end: str, sort: str):
    answer = service.get("/api/leads", params={"createdFrom": start, "createdTo": end, "sortBy": sort})

    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["pagination"]["total"] == service.page()["pagination"]["total"]


@pytest.mark.parametrize("name", ["createdFrom", "createdTo"])
@pytest.mark.parametrize(
    "value",
    [
        "x",
        "2023-02-29",
        "2023-13-01",
        "2023-1-1",
        "1700000000",
        "2023-01-01T25:00:00Z",
        "2023-01-01T00:00:00",
        "2023-01-01 00:00",
        "today",
        "2023-01-01T00:00:00+99:00",
        "00:00:00",
        "+",
        "٢٠٢٣-٠١-٠١",
    ],
)
def test_a_wrong_time_is_named(service: Service, name: str, value: str):
    answer = service.get("/api/leads", params={name: value})

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {name}


def test_a_range_that_ends_before_it_begins_holds_nothing(service: Service):
    now = datetime.now(UTC)

    answer = service.get(
        "/api/leads", params={"createdFrom": now.isoformat(), "createdTo": (now - timedelta(hours=1)).isoformat()}
    )

    if answer.status_code == 200:
        assert answer.json()["data"]["items"] == []
        assert answer.json()["data"]["pagination"]["total"] == 0
    else:
        assert_error(answer, 400, "Validation failed")
