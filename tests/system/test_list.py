"""GET /api/leads: its parameters and its pages' numbers."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.kit.leads import UUID7, a_lead, assert_error, assert_success
from tests.kit.service import Service

FIELDS = {"id", "state", "firstName", "lastName", "email", "phone", "dateOfBirth", "additionalData"}
FIELDS |= {"createdAt", "updatedAt"}

SORTS = ("createdAt", "firstName", "lastName", "email")


@pytest.fixture(scope="module", autouse=True)
def _some_leads(service: Service) -> None:
    service.wait_until_stored(*service.accept(*[a_lead(lastName="Listed") for _ in range(25)]))


def wrong(service: Service, query: str) -> set[str]:
    """Return the parameters that are named as wrong."""
    return set(assert_error(service.get(f"/api/leads?{query}"), 400, "Validation failed")["errors"])


def test_without_parameters_the_ten_newest_come_first(service: Service):
    newest = service.accept(*[a_lead() for _ in range(3)])
    service.wait_until_stored(*newest)

    data = assert_success(service.get("/api/leads"), 200)

    assert data.keys() == {"items", "pagination"}
    assert data["pagination"].keys() == {"total", "page", "limit", "total_pages", "next_cursor"}
    assert (data["pagination"]["page"], data["pagination"]["limit"]) == (1, 10)
    assert len(data["items"]) == 10
    assert [each["id"] for each in data["items"][:3]] == newest[::-1]
    times = [each["createdAt"] for each in data["items"]]
    assert times == sorted(times, reverse=True)
    for each in data["items"]:
        assert each.keys() == FIELDS
        assert each["state"] == "stored"
        assert re.fullmatch(UUID7, each["id"])


def test_the_defaults_are_what_the_contract_says(service: Service):
    plain = service.page()["items"]

    assert service.page(page=1, limit=10, sortBy="createdAt", sortOrder="DESC")["items"] == plain


@pytest.mark.parametrize("limit", [1, 7, 10, 99, 100])
def test_a_page_has_as_many_leads_as_asked_for(service: Service, limit: int):
    data = service.page(limit=limit)

    total = data["pagination"]["total"]
    assert len(data["items"]) == min(limit, total)
    assert data["pagination"]["limit"] == limit
    assert data["pagination"]["total_pages"] == -(-total // limit)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=", "limit=1.0", "limit=1e1"])
def test_a_wrong_limit_is_named(service: Service, query: str):
    assert wrong(service, query) == {"limit"}


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=x",
        "page=",
        "page=1.5",
        "page=%2B1",
        "page=+1",
        "page=0x1",
        "page=1_0",
        "page=٣",
        "page=" + "9" * 30,
        "page=" + "1" * 5000,
        "page=null",
        "page=%00",
        "page=1;limit=2",
    ],
    ids=lambda query: ascii(query[:20]),
)
def test_a_wrong_page_is_named(service: Service, query: str):
    assert wrong(service, query) == {"page"}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("page", [10_000, 10**9, 10**15])
def test_past_the_end_the_list_is_empty(service: Service, sort: str, page: int):
    for order in ("ASC", "DESC"):
        data = service.page(page=page, sortBy=sort, sortOrder=order, limit=100)

        assert data["items"] == []
        assert data["pagination"]["page"] == page
        assert data["pagination"]["total"] >= 25
        assert data["pagination"]["next_cursor"] is None


def test_the_page_after_the_last_is_empty_and_the_last_is_not(service: Service):
    last = service.page()["pagination"]["total_pages"]

    assert service.page(page=last)["items"]
    assert service.page(page=last + 1)["items"] == []


@pytest.mark.parametrize("order", ["ASC", "asc", "Asc", "aSC"])
def test_the_order_is_taken_in_any_case(service: Service, order: str):
    times = [each["createdAt"] for each in service.page(sortOrder=order)["items"]]

    assert times == sorted(times)
    assert service.page(sortOrder="desc")["items"] == service.page()["items"]


@pytest.mark.parametrize("query", ["sortOrder=", "sortOrder=UP", "sortOrder=ASC%20", "sortOrder=ascending"])
def test_a_wrong_order_is_named(service: Service, query: str):
    assert wrong(service, query) == {"sortOrder"}


@pytest.mark.parametrize(
    "query",
    ["sortBy=", "sortBy=id", "sortBy=phone", "sortBy=createdat", "sortBy=created_at", "sortBy=email;", "sortBy=1"],
)
def test_a_wrong_sort_is_named(service: Service, query: str):
    assert wrong(service, query) == {"sortBy"}


@pytest.mark.parametrize("name", ["offset", "Page", "sort", "page[]", "q", "%00", "😀", "__class__"])
def test_an_unknown_parameter_is_named(service: Service, name: str):
    assert len(wrong(service, f"{name}=1")) == 1


@pytest.mark.parametrize(
    "query", ["page=1&page=2", "limit=5&limit=5", "sortBy=email&sortBy=email", "email=a&email=b", "x=1&x=2"]
)
def test_a_parameter_given_twice_is_named(service: Service, query: str):
    assert wrong(service, query) == {query.split("=")[0]}


def test_all_wrong_parameters_are_named_at_once(service: Service):
    query = "page=0&limit=0&sortBy=x&sortOrder=x&createdFrom=x&createdTo=x&y=1"

    assert wrong(service, query) == {"page", "limit", "sortBy", "sortOrder", "createdFrom", "createdTo", "y"}


@pytest.mark.parametrize("query", ["%", "%zz", "&&&", "=", "=1", "a", "?", "%ff=%ff", "email=%ff%fe", "x" * 5000])
def test_a_broken_query_breaks_nothing(service: Service, query: str):
    answer = service.get(f"/api/leads?{query}")

    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("cursor", ["", "x", "A" * 200, "é", "%00", "A" * 5000, "gAAAAAB", "null", "[]", "=", "-_-_"])
def test_what_is_no_cursor_is_named(service: Service, cursor: str):
    assert wrong(service, f"cursor={cursor}") == {"cursor"}


def test_a_page_and_a_cursor_together_are_refused(service: Service):
    cursor = service.page(limit=1)["pagination"]["next_cursor"]

    assert wrong(service, f"page=2&cursor={cursor}") <= {"page", "cursor"}


def test_the_total_counts_what_is_stored(service: Service):
    before = service.page()["pagination"]["total"]

    service.wait_until_stored(*service.accept(*[a_lead() for _ in range(7)]))

    assert service.page()["pagination"]["total"] == before + 7


def test_times_are_in_utc_and_now(service: Service):
    service.wait_until_stored(*service.accept(a_lead()))

    created = datetime.fromisoformat(service.page(limit=1)["items"][0]["createdAt"])

    assert abs(datetime.now(UTC) - created) < timedelta(seconds=10)
