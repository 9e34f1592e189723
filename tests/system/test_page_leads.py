"""The page's list of leads in a browser: sorts, pages and filters, as the API gives them."""

from datetime import datetime, timedelta

import pytest

from tests.kit.leads import assert_error
from tests.kit.page import LeadPage, go_to, time_zone
from tests.kit.servers import until
from tests.kit.service import Service

from .lead_list import SHARED_EMAIL, SHARED_PHONE, SOURCE, assert_logged, assert_shows, at_the_list, fill, rows

SORTS = ("createdAt", "firstName", "lastName", "email")
SIZES = (10, 25, 50, 100)


@pytest.mark.parametrize("sort", SORTS)
def test_a_list_is_sorted_both_ways(leads: LeadPage, listed: Service, sort: str):
    orders = {"ascending": "ASC", "descending": "DESC"}
    seen = []
    for _ in orders:
        head = f"th:has(#sort-{sort})"
        before = leads.attribute(head, "aria-sort")

        leads.click(f"#sort-{sort}")
        until(lambda head=head, before=before: leads.attribute(head, "aria-sort") != before)

        order = orders[str(leads.attribute(head, "aria-sort"))]
        assert_shows(leads, listed, sortBy=sort, sortOrder=order)
        leads.click("#pages a[aria-label='Page 2']")
        assert_shows(leads, listed, sortBy=sort, sortOrder=order, page=2)
        seen.append(order)
        assert leads.run("return document.querySelectorAll('th[aria-sort$=ending]').length") == 1

    assert sorted(seen) == ["ASC", "DESC"]


def test_the_newest_lead_comes_first(leads: LeadPage, listed: Service):
    assert_shows(leads, listed, sortBy="createdAt", sortOrder="DESC")


def test_the_pages_have_every_lead_once(leads: LeadPage, listed: Service):
    # Given the first page
    place = {"source": SOURCE, "limit": 10}
    go_to(leads, f"leads?source={SOURCE}&limit=10")
    pages = assert_shows(leads, listed, **place)["pagination"]["total_pages"]
    assert pages > 2
    found = [each[0] for each in rows(leads)]

    # When one is turned after the other, to the last
    for number in range(2, pages + 1):
        leads.click(f"#pages a[aria-label='Page {number}']")
        assert_shows(leads, listed, **place, page=number)
        assert leads.shown("#pages a[aria-current=page]") == str(number)
        found += [each[0] for each in rows(leads)]

    # Then each lead was seen once, and there is no page behind
    assert found == [each["id"] for each in listed.walk(source=SOURCE)]
    assert not leads.is_there(f"#pages a[aria-label='Page {pages + 1}']")


def test_any_page_of_many_is_two_steps_away(leads: LeadPage, listed: Service):
    leads.choose("#page-size", "10")
    last = assert_shows(leads, listed, limit=10)["pagination"]["total_pages"]
    assert last > 10

    # The last by its number, which always is there
    leads.click(f"#pages a[aria-label='Page {last}']")
    assert_shows(leads, listed, limit=10, page=last)
    # Another by the number that is typed
    for typed, reached in ((5, 5), (last + 100, last), (-3, 1)):
        leads.write("#page-number", str(typed))
        leads.click("#go-to-page button")
        assert_shows(leads, listed, limit=10, page=reached)
    # And the browser's own way back
    leads.driver.back()
    assert_shows(leads, listed, limit=10, page=last)
    leads.driver.back()
    assert_shows(leads, listed, limit=10, page=5)
    leads.driver.forward()
    assert_shows(leads, listed, limit=10, page=last)


def test_a_page_has_as_many_leads_as_one_wishes(leads: LeadPage, listed: Service):
    leads.click("#pages a[aria-label='Page 3']")
    assert_shows(leads, listed, page=3)

    for size in SIZES:
        leads.choose("#page-size", str(size))
        assert_shows(leads, listed, limit=size)
    assert [str(size) for size in SIZES] == leads.run(
        "return [...document.querySelectorAll('#page-size option')].map((each) => each.value)"
    )


def test_a_page_past_the_last_one_says_so(leads: LeadPage, listed: Service):
    go_to(leads, "leads?page=1000")

    assert_shows(leads, listed, page=1000)
    assert leads.shown("#leads-empty")
    leads.click("#pages a[aria-label='Page 1']")
    assert_shows(leads, listed)


@pytest.mark.parametrize(
    "filters",
    [
        {"email": SHARED_EMAIL},
        {"email": "nobody@example.com"},
        {"phone": SHARED_PHONE},
        {"phone": "x"},
        {"source": SOURCE},
        {"source": "nobody"},
        {"duplicates": "only"},
        {"duplicates": "exclude"},
        {"email": SHARED_EMAIL, "phone": SHARED_PHONE},
        {"source": SOURCE, "duplicates": "exclude"},
        {"email": SHARED_EMAIL, "source": SOURCE, "duplicates": "only"},
    ],
    ids=" ".join,
)
def test_filters_show_what_the_api_gives(leads: LeadPage, listed: Service, filters: dict[str, str]):
    fill(leads, **filters)

    data = assert_shows(leads, listed, **filters)
    assert data["pagination"]["total"] < listed.page()["pagination"]["total"]
    if data["pagination"]["total_pages"] < 2:
        assert leads.shown("#pages") == "1"
    # An empty list says that nothing matches
    assert bool(leads.shown("#leads-empty")) == (not data["items"])

    leads.click("#filter-clear")
    assert_shows(leads, listed)
    for name in filters:
        assert leads.run("return document.querySelector(arguments[0]).value", f"#filter-{name}") == ""


def test_filters_stay_while_the_list_is_sorted_and_turned(leads: LeadPage, listed: Service):
    leads.choose("#page-size", "10")
    assert_shows(leads, listed, limit=10)
    fill(leads, source=SOURCE)
    assert_shows(leads, listed, limit=10, source=SOURCE)

    leads.click("#sort-lastName")
    assert_shows(leads, listed, limit=10, source=SOURCE, sortBy="lastName", sortOrder="ASC")
    leads.click("#pages a[aria-label='Page 3']")
    assert_shows(leads, listed, limit=10, source=SOURCE, sortBy="lastName", sortOrder="ASC", page=3)
    fill(leads, email=SHARED_EMAIL)
    assert_shows(leads, listed, limit=10, source=SOURCE, email=SHARED_EMAIL, sortBy="lastName", sortOrder="ASC")


def test_times_are_the_viewers_and_bound_the_list(page: LeadPage, listed: Service):
    oldest = datetime.fromisoformat(listed.page(sortOrder="ASC", limit=1)["items"][0]["createdAt"])
    minute = oldest.replace(second=0, microsecond=0)
    with time_zone(page, "Asia/Kolkata"):  # five and a half hours ahead of UTC
        at_the_list(page, listed)
        # From the minute of the first lead on there are all, and in the one before none
        for name, parameter, moment in (
            ("from", "createdFrom", minute),
            ("to", "createdTo", minute),
            ("from", "createdFrom", minute + timedelta(days=1)),
        ):
            page.click("#filter-clear")
            assert_shows(page, listed)
            page.find(f"#filter-{name}").send_keys(typed(moment + timedelta(hours=5, minutes=30)))
            page.click("#filter-apply")
            assert_shows(page, listed, **{parameter: moment.strftime("%Y-%m-%dT%H:%M:%SZ")})


def typed(moment: datetime) -> str:
    """Return what an American types into a field for a time."""
    return moment.strftime("%m%d%Y\t%I%M%p")


def test_times_bound_the_list_to_the_microsecond(leads: LeadPage, listed: Service):
    three = listed.page(page=30, limit=3)["items"]
    bounds = {"createdFrom": three[-1]["createdAt"], "createdTo": three[0]["createdAt"]}

    go_to(leads, f"leads?from={bounds['createdFrom']}&to={bounds['createdTo']}")

    assert len(assert_shows(leads, listed, **bounds)["items"]) == 3
    # They stay as they are when another filter comes
    fill(leads, email=three[1]["email"])
    assert len(assert_shows(leads, listed, **bounds, email=three[1]["email"])["items"]) == 1


@pytest.mark.parametrize(
    ("name", "value"), [("phone", "+49" + "1" * 20), ("email", "a" * 255), ("source", "No source!")]
)
def test_a_wrong_value_is_named_beside_its_field(leads: LeadPage, listed: Service, name: str, value: str):
    refused = assert_error(listed.get("/api/leads", params={name: value}), 400)

    fill(leads, **{name: value})

    leads.wait_for(f"#filter-{name}-error", refused["errors"][name][0])
    assert leads.attribute(f"#filter-{name}", "aria-invalid") == "true"
    assert f"filter-{name}-error" in str(leads.attribute(f"#filter-{name}", "aria-describedby"))
    leads.wait_for("#leads-problem", refused["message"])
    assert_logged(listed, leads.shown("#leads-problem code"), 400)
    # Once it is right, nothing of that is left
    leads.click("#filter-clear")
    assert_shows(leads, listed)
    assert (leads.shown("#leads-problem"), leads.shown(f"#filter-{name}-error")) == ("", "")


@pytest.mark.parametrize(
    ("fragment", "parameter"),
    [
        ("sort=x", "sortBy"),
        ("order=x", "sortOrder"),
        ("page=0", "page"),
        ("limit=1000", "limit"),
        ("from=x", "createdFrom"),
        ("to=2026-02-30", "createdTo"),
        ("duplicates=x", "duplicates"),
    ],
)
def test_a_wrong_address_is_told_as_the_api_does(leads: LeadPage, listed: Service, fragment: str, parameter: str):
    value = fragment.partition("=")[2]
    message = assert_error(listed.get("/api/leads", params={parameter: value}), 400)["errors"][parameter][0]

    go_to(leads, f"leads?{fragment}")

    until(lambda: message in leads.shown("#main"))
    shown = leads.shown("#leads-problem")
    field = {"createdFrom": "from", "createdTo": "to", "duplicates": "duplicates"}.get(parameter)
    assert parameter in shown if field is None else message in leads.shown(f"#filter-{field}-error")
