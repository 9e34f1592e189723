"""Walking a list from end to end: no lead twice, none missing."""

import itertools

import pytest

from tests.kit.leads import a_lead, assert_error
from tests.kit.service import Service

SORTS = ("createdAt", "firstName", "lastName", "email")
ORDERS = ("ASC", "DESC")

# Few values for many leads, some of them strange.
FIRST = ("Ada", "ada", "Bob", "Ångström", "😀", "Zoë", "  Bob ", "A")
LAST = ("Lovelace", "lovelace", "O'Brien", "Ünal")
EMAILS = ("same@example.com", "Same@example.com", "other@example.com")


@pytest.fixture(scope="module")
def ids(service: Service) -> set[str]:
    """Three hundred leads, most of which share their values."""
    values = zip(range(300), itertools.cycle(FIRST), itertools.cycle(LAST), itertools.cycle(EMAILS), strict=False)
    made = service.accept(*[a_lead(firstName=f, lastName=last, email=e) for _, f, last, e in values])
    service.wait_until_stored(*made)
    return set(made)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sort", SORTS)
def test_pages_and_cursors_show_each_lead_once_and_in_the_same_order(
    service: Service, ids: set[str], sort: str, order: str
):
    by_cursor = service.walk(sortBy=sort, sortOrder=order)
    first = service.page(sortBy=sort, sortOrder=order, limit=70)
    by_page = [
        each
        for page in range(1, first["pagination"]["total_pages"] + 1)
        for each in service.page(sortBy=sort, sortOrder=order, limit=70, page=page)["items"]
    ]

    walked = [each["id"] for each in by_cursor]
    assert len(walked) == len(set(walked)) == first["pagination"]["total"]
    assert ids <= set(walked)
    assert by_page == by_cursor
    keys = [(each[sort], each["id"]) for each in by_cursor]
    # By code point, and equal values in the order in which they came.
    assert keys == sorted(keys, reverse=order == "DESC")


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("limit", [1, 33])
def test_a_filtered_list_shows_each_lead_once_too(service: Service, ids: set[str], sort: str, limit: int):
    filters = {"email": "other@example.com"} if limit > 1 else {"email": "other@example.com", "phone": "+442071234567"}
    total = service.page(**filters)["pagination"]["total"]
    pages = range(1, min(-(-total // limit), 20) + 1)

    shown = [
        each["id"] for page in pages for each in service.page(**filters, sortBy=sort, limit=limit, page=page)["items"]
    ]

    walked = [each["id"] for each in service.walk(**filters, sortBy=sort)]
    assert len(set(walked)) == len(walked) == total
    assert shown == walked[: len(shown)]


@pytest.mark.parametrize(("sort", "order"), list(itertools.product(("createdAt", "firstName"), ORDERS)))
def test_a_walk_by_cursors_stays_whole_while_leads_keep_arriving(
    service: Service, ids: set[str], sort: str, order: str
):
    walked: list[str] = []
    place: dict[str, str] = {}

    # New leads may keep an ascending walk from ending: what was there before is all we wait for.
    while not ids <= set(walked):
        data = service.page(limit=50, sortBy=sort, sortOrder=order, **place)
        walked += [each["id"] for each in data["items"]]
        service.accept(*[a_lead(firstName=first) for first in FIRST])
        if data["pagination"]["next_cursor"] is None:
            break
        place = {"cursor": data["pagination"]["next_cursor"]}

    assert ids <= set(walked)
    assert len(walked) == len(set(walked))


def test_the_last_page_has_no_cursor(service: Service, ids: set[str]):
    service.wait_until_nothing_waits()
    total = service.page()["pagination"]["total"]

    last = service.page(limit=100, page=-(-total // 100))

    assert last["pagination"]["next_cursor"] is None
    assert service.page(limit=100)["pagination"]["next_cursor"] is not None


def test_a_list_of_exactly_one_page_has_no_cursor(service: Service):
    lead = a_lead()
    service.wait_until_stored(*service.accept(lead, lead, lead))

    assert service.page(email=lead["email"], limit=3)["pagination"]["next_cursor"] is None
    assert service.page(email=lead["email"], limit=2)["pagination"]["next_cursor"] is not None


def test_an_altered_cursor_is_refused(service: Service, ids: set[str]):
    cursor = service.page(limit=5)["pagination"]["next_cursor"]

    for at in range(0, len(cursor), 7):
        altered = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        answer = service.get("/api/leads", params={"cursor": altered})
        assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {"cursor"}
    for cut in (cursor[:-8], cursor[8:], cursor + "AAAA", cursor * 2):
        assert_error(service.get("/api/leads", params={"cursor": cut}), 400, "Validation failed")


@pytest.mark.parametrize(
    "other",
    [{"sortBy": "email"}, {"sortOrder": "ASC"}, {"email": "same@example.com"}, {"createdFrom": "2020-01-01"}],
    ids=str,
)
def test_a_cursor_of_another_list_is_refused(service: Service, ids: set[str], other: dict[str, str]):
    cursor = service.page(limit=5)["pagination"]["next_cursor"]

    answer = service.get("/api/leads", params={"cursor": cursor, **other})

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {"cursor"}


def test_a_cursor_goes_on_with_another_limit(service: Service, ids: set[str]):
    expected = [each["id"] for each in service.page(limit=12)["items"]][5:]
    cursor = service.page(limit=5)["pagination"]["next_cursor"]

    assert [each["id"] for each in service.page(limit=7, cursor=cursor)["items"]] == expected


def test_a_cursor_shows_nothing_of_a_lead(service: Service, ids: set[str]):
    data = service.page(limit=5, sortBy="email")

    last = data["items"][-1]
    cursor = data["pagination"]["next_cursor"]
    assert last["id"].replace("-", "") not in cursor
    assert last["email"].encode().hex() not in cursor
    assert len(cursor) < 1000
