"""The page's view Leads in a browser: the list as the API has it, one lead, exports, and what each role sees."""

import json
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.page import LeadPage, downloads, go_to, slow_downloads, time_zone
from tests.kit.servers import until
from tests.kit.service import EMAIL, PASSWORD, Service

from .test_export_slow import ask

SOURCE = "acme"
SHARED_EMAIL, SHARED_PHONE = "Shared.Address@example.com", "+493099999"

# Users by their roles; the test user has ingest, read and export.
SENDER, READER, EXPORTERS = "sender@example.com", "reader@example.com", ("one@example.com", "two@example.com")
USERS = {SENDER: "ingest", READER: "read", **dict.fromkeys(EXPORTERS, "export")}

# What the page shows at first.
LIMIT = 25
SIZES = (10, 25, 50, 100)
SORTS = ("createdAt", "firstName", "lastName", "email")

# Among them equal ones, and such as are sorted by more than their letters.
FIRST = ("Ada", "ada", "Ångström", "Zoë", "Émile", "Grace", "Alan", "O'Brien", "李", "Ada")
LAST = ("Lovelace", "de la Cruz", "Hopper", "Turing", "Łukasiewicz", "ß", "Turing")

UNKNOWN = "019a0000-0000-7000-8000-000000000000"

BULKY = "bulky@example.com"
BULKY_LEADS = 1200  # of 15 kB: more than all buffers between the service and the page hold
FILLING = "x" * 15_000


def a_person(number: int, **changes: Any) -> dict[str, Any]:
    """Return a lead of a person who came once."""
    lead = {
        "firstName": FIRST[number % len(FIRST)],
        "lastName": LAST[number % len(LAST)],
        "email": f"person{number * 37 % 101}.{number}@example.com",
        "phone": f"+4930{number:06}",
    }
    return a_lead(**lead | changes)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with some pages of leads, a source's and duplicates among them."""
    with Service(tmp_path_factory.mktemp("listed"), http_workers=1, duplicate_days=30) as service:
        with ThreadPoolExecutor(2) as threads:
            commands = [("source", "create", SOURCE, "--role", "ingest")]
            commands += [("user", "create", email, "--role", role) for email, role in USERS.items()]
            made = list(threads.map(lambda each: service.run("ingest_api", *each, given=f"{PASSWORD}\n"), commands))
        assert not any(each.returncode for each in made), made
        sent = service.accept(*(a_person(number) for number in range(100)))
        shared = {"email": SHARED_EMAIL}, {"phone": SHARED_PHONE}, {"email": SHARED_EMAIL, "phone": SHARED_PHONE}
        sent += service.accept(*(a_person(200 + at, **each) for at, each in enumerate(shared * 2)))
        key = made[0].stdout.strip()
        until(lambda: service.post("/api/leads", {}, key).status_code == 400, 15, 0.1)
        theirs = [a_person(number) for number in range(300, 330)] + [a_person(330, email=SHARED_EMAIL)]
        sent += [each["id"] for each in assert_success(service.post("/api/leads/bulk", theirs, key), 202)["results"]]
        service.wait_until_stored(*sent)
        yield service


@pytest.fixture
def leads(page: LeadPage, listed: Service) -> LeadPage:
    """The page at the list, as the test user sees it."""
    return at_the_list(page, listed)


def at_the_list(page: LeadPage, service: Service, email: str = EMAIL) -> LeadPage:
    """Open the page at the list, as a user sees it."""
    page.visit(service, "leads")
    page.log_in(email)
    until(lambda: is_shown(page))
    return page


def is_shown(page: LeadPage) -> bool:
    """Tell whether an answer is shown, and no other one is waited for."""
    return page.attribute("#results", "aria-busy") == "false"


def rows(page: LeadPage) -> list[list[str]]:
    """Return the rows that are seen, each with its id, its time and the text of its other cells."""
    found: list[list[str]] = page.run(
        "return [...document.querySelectorAll('#leads-table:not([hidden]) tbody tr')].map((row) => ["
        "  row.dataset.lead, row.querySelector('time').dateTime,"
        "  ...[...row.cells].slice(1).map((cell) => cell.textContent),"
        "])"
    )
    return found


def row(lead: dict[str, Any]) -> list[str]:
    """Return the row of a lead."""
    sender = lead.get("source", "–") + ("duplicate" if "duplicateOf" in lead else "")
    texts = [lead[name] for name in ("id", "createdAt", "firstName", "lastName", "email", "phone")]
    return [*texts, sender]


def assert_shows(seen: LeadPage, service: Service, **parameters: Any) -> dict[str, Any]:
    """Wait until the page shows what the API's list gives, and its total; return that."""
    data = service.page(**{"limit": LIMIT, **parameters})
    expected = [row(each) for each in data["items"]]
    total, last = data["pagination"]["total"], data["pagination"]["total_pages"]
    said = f"{total:,} lead"
    paged = f"page {data['pagination']['page']:,} of {last:,}" if last > 1 else ""

    def state() -> tuple[object, ...]:
        text = seen.shown("#leads-total")
        return is_shown(seen), rows(seen), text.startswith(said) and text.endswith(paged)

    with suppress(AssertionError):
        until(lambda: state() == (True, expected, True))
    assert state() == (True, expected, True), seen.shown("#main")
    return data


def fill(page: LeadPage, **filters: str) -> None:
    """Fill in filters by the API's names, and apply them."""
    for name, value in filters.items():
        if name == "duplicates":
            page.choose("#filter-duplicates", value)
        else:
            page.write(f"#filter-{name}", value)
    page.click("#filter-apply")


def find(page: LeadPage, text: str) -> None:
    """Look for a lead by its id or by an e-mail address."""
    page.write("#find-text", text)
    page.click("#find button")


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
    pages = assert_shows(leads, listed)["pagination"]["total_pages"]
    assert pages > 2
    found = [each[0] for each in rows(leads)]

    # When one is turned after the other, to the last
    for number in range(2, pages + 1):
        leads.click(f"#pages a[aria-label='Page {number}']")
        assert_shows(leads, listed, page=number)
        assert leads.shown("#pages a[aria-current=page]") == str(number)
        found += [each[0] for each in rows(leads)]

    # Then each lead was seen once, and there is no page behind
    assert found == [each["id"] for each in listed.walk()]
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
        assert_shows(leads, listed, limit=size, page=3 if size == LIMIT and size == SIZES[0] else 1)
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


def assert_logged(service: Service, request_id: str, status: int) -> None:
    """Check that the service's log has a request, by the id that the page shows."""
    assert request_id
    log = service.data / "logs" / "api.log"

    def lines() -> list[str]:
        return [line for line in log.read_text().splitlines() if request_id in line]

    assert json.loads(until(lines)[-1])["status"] == status


def test_a_lead_is_found_by_its_id(leads: LeadPage, listed: Service):
    lead = listed.page(page=3)["items"][0]

    for text in (lead["id"], f"  {lead['id'].upper()} "):
        find(leads, text)
        until(lambda: leads.shown("#lead-id") == lead["id"])
        leads.click("#back")
        assert_shows(leads, listed)


def test_leads_are_found_by_their_address(leads: LeadPage, listed: Service):
    fill(leads, source="nobody", phone="+1", duplicates="only")
    assert_shows(leads, listed, source="nobody", phone="+1", duplicates="only")

    find(leads, f" {SHARED_EMAIL} ")

    assert len(assert_shows(leads, listed, email=SHARED_EMAIL)["items"]) > 1


def test_a_lead_is_shown_with_all_that_it_has(leads: LeadPage, listed: Service):
    # Given a lead with all fields, and the first of its person
    consent = {
        "url": "https://cert.trustedform.com/0123456789abcdef",
        "text": "Yes, call me.\nAt any time.",
        "ip": "2001:db8::7",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
        "at": "2026-11-30T12:00:00+01:00",
    }
    extra = {"vehicle": {"year": 2020, "doors": [1, 2, {"rear": None}]}, "number": 2**63 - 1, "ok": True, "": "x"}
    person = a_person(400, additionalData=extra, consent=consent)
    first, second = listed.accept(person, person)
    listed.wait_until_stored(first, second)
    lead = listed.lead(second)
    assert lead["duplicateOf"] == first

    # When it is looked at
    find(leads, second)
    until(lambda: leads.shown("#lead-id") == second)

    # Then nothing is missing
    names = ("firstName", "lastName", "email", "phone", "dateOfBirth", "duplicateOf")
    assert {name: leads.shown(f"#lead-{name}") for name in names} == {name: lead[name] for name in names}
    for name in ("createdAt", "updatedAt"):
        assert leads.attribute(f"#lead-{name} time", "datetime") == lead[name]
    assert json.loads(leads.shown("#lead-additionalData")) == extra
    terms = leads.run(
        "return [...document.querySelectorAll('#lead-consent div')]"
        "  .map((each) => [...each.children].map((one) => one.textContent))"
    )
    assert dict(terms) == consent
    assert "Stored" in leads.shown("#lead-state")
    # And the first of the person is a click away
    assert not leads.is_there("#lead-source")
    leads.click("#lead-duplicateOf a")
    until(lambda: leads.shown("#lead-id") == first)
    assert not leads.is_there("#lead-duplicateOf")


def test_a_lead_says_who_sent_it_and_leads_back_to_the_list_as_it_was(leads: LeadPage, listed: Service):
    place = {"source": SOURCE, "sortBy": "email", "sortOrder": "ASC", "page": 2}
    fill(leads, source=SOURCE)
    assert_shows(leads, listed, source=SOURCE)
    leads.click("#sort-email")
    assert_shows(leads, listed, **place | {"page": 1})
    leads.click("#pages a[aria-label='Page 2']")
    lead = assert_shows(leads, listed, **place)["items"][0]

    leads.click(f"tr[data-lead='{lead['id']}'] a")
    until(lambda: leads.shown("#lead-id") == lead["id"])

    assert leads.shown("#lead-source") == SOURCE
    leads.click("#back")
    assert_shows(leads, listed, **place)


def test_a_lead_that_waits_is_seen_to_be_stored(leads: LeadPage, listed: Service):
    worker = listed.one("worker")
    stopped = [worker, *worker.children(recursive=True)]
    for each in stopped:
        each.suspend()
    try:
        (lead,) = listed.accept(a_person(401))
        find(leads, lead)
        leads.wait_for("#lead-state", "Queued")
        assert leads.shown("#lead-id") == lead
    finally:
        for each in stopped:
            each.resume()
    leads.wait_for("#lead-state", "Stored")
    assert listed.lead(lead)["state"] == "stored"


def test_a_lead_that_is_not_there_is_told_as_the_api_does(leads: LeadPage, listed: Service):
    refused = assert_error(listed.get(f"/api/leads/{UNKNOWN}"), 404)

    find(leads, UNKNOWN)

    leads.wait_for("#lead-problem", refused["message"])
    assert "404" in leads.shown("#lead-problem")
    assert_logged(listed, leads.shown("#lead-problem code"), 404)
    leads.click("#back")
    assert_shows(leads, listed)


def test_nothing_of_a_person_is_in_an_address_or_kept(leads: LeadPage, listed: Service):
    person = a_person(402, firstName="Wilhelmina", lastName="Drucker", email="mina.drucker@example.com")
    (lead,) = listed.accept(person)
    listed.wait_until_stored(lead)

    # When a person is looked for, filtered by, sorted, looked at, and left
    find(leads, person["email"])
    assert_shows(leads, listed, email=person["email"])
    fill(leads, phone=person["phone"], source="", duplicates="exclude")
    assert_shows(leads, listed, email=person["email"], phone=person["phone"], duplicates="exclude")
    leads.click("#sort-firstName")
    assert_shows(
        leads,
        listed,
        email=person["email"],
        phone=person["phone"],
        duplicates="exclude",
        sortBy="firstName",
        sortOrder="ASC",
    )
    leads.click(f"tr[data-lead='{lead}'] a")
    until(lambda: leads.shown("#lead-email") == person["email"])
    leads.click("#back")
    leads.driver.back()
    leads.driver.back()
    leads.driver.forward()

    # Then no address, title or storage of the browser has anything of that
    entries = leads.driver.execute_cdp_cmd("Page.getNavigationHistory", {})["entries"]
    assert len(entries) > 3
    kept = leads.run(
        "return [document.cookie, JSON.stringify(localStorage), JSON.stringify(sessionStorage),"
        " JSON.stringify(history.state), document.title, location.href,"
        " ...performance.getEntriesByType('navigation').map((each) => each.name)]"
    )
    assert leads.run("return indexedDB.databases().then((all) => all.length)") == 0
    assert leads.run("return caches.keys().then((all) => all.length)") == 0
    secrets = ("mina", "drucker", person["phone"].lstrip("+"))
    for text in (*kept, *(text for each in entries for text in (each["url"], each["userTypedURL"], each["title"]))):
        assert not any(secret in urllib.parse.unquote(str(text)).lower() for secret in secrets), text
    # And only the API is asked with it, as everybody asks it
    asked = [each.split()[1] for each in leads.requests()]
    named = [each for each in asked if any(secret in urllib.parse.unquote(each).lower() for secret in secrets)]
    assert named
    assert {urllib.parse.urlsplit(each).path for each in named} == {"/api/leads"}

    # And who logs in next finds the whole list
    leads.click("#logout")
    leads.log_in()
    go_to(leads, "leads")
    assert_shows(leads, listed)
    assert (
        leads.run(
            "return document.querySelector('#filter-email').value + document.querySelector('#filter-phone').value"
        )
        == ""
    )


NASTY = (
    "<img src=x onerror=\"window.broken='image'\">",
    "</script><script>window.broken='script'</script>",
    "<svg/onload=window.broken='svg'>",
    "${window.broken='template'} {{7*7}}",
    "&lt;b&gt; &amp; 'quotes' \"",
    "שלום עולם",
    "a\u202eb\u202c",
    "👩‍👩‍👧‍👦 😀",
    "x" * 255,
    "漢" * 255,
    "Ǻ̧̩" * 60,
)


def test_whatever_a_lead_says_is_text(leads: LeadPage, listed: Service):
    # Given leads with texts that mean something elsewhere
    address = f"{'o' * 60}@{'.'.join(['x' * 60] * 3)}.example"
    made = [
        a_person(
            500 + at,
            firstName=text,
            lastName=text,
            email=address,
            additionalData={text: [text, {"__proto__": text, "constructor": text}]},
            consent={"text": text, "userAgent": text, "url": f"https://example.com/{'y' * 300}?<script>"},
        )
        for at, text in enumerate(NASTY)
    ]
    ids = listed.accept(*made)
    listed.wait_until_stored(*ids)

    # Then the list shows them
    find(leads, address)
    assert_shows(leads, listed, email=address)
    assert_harmless(leads)
    # And so does each lead's own view
    for lead, text, sent in zip(ids, NASTY, made, strict=True):
        go_to(leads, f"lead/{lead}")
        until(lambda lead=lead: leads.shown("#lead-id") == lead)
        assert (leads.shown("#lead-firstName"), leads.shown("#lead-lastName")) == (text, text)
        assert json.loads(leads.shown("#lead-additionalData")) == sent["additionalData"]
        assert text in leads.shown("#lead-consent")
        assert_harmless(leads)


def assert_harmless(page: LeadPage) -> None:
    """Check that no text became an element or was run, and that nothing scrolls sideways, on a telephone too."""
    assert page.run("return document.querySelectorAll('main :is(img, script, iframe, b b)').length") == 0
    assert page.run("return window.broken ?? null") is None
    assert page.errors() == []
    for width in (320, 1280):
        page.resize(width)
        assert page.run("return document.scrollingElement.scrollWidth") <= width


def exported(service: Service, **parameters: Any) -> bytes:
    """Return the API's export; the user's former one may just be ending."""

    def answer() -> httpx.Response | None:
        found = service.get("/api/leads/export", params=parameters)
        return None if found.status_code == 429 else found

    found = until(answer, 30, 0.05)
    assert found is not None
    assert found.status_code == 200, found.text
    return found.content


def saved(directory: Path) -> Path:
    """Wait for the one file of a directory to be whole, and return it."""

    def whole() -> list[Path]:
        found = list(directory.iterdir())
        return [each for each in found if len(found) == 1 and each.suffix in (".csv", ".ndjson")]

    return until(whole)[0]


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_an_export_has_what_is_filtered(leads: LeadPage, listed: Service, tmp_path: Path, kind: str):
    with downloads(leads, tmp_path):
        # Of a filter, in the order of the list
        fill(leads, source=SOURCE, duplicates="exclude")
        assert_shows(leads, listed, source=SOURCE, duplicates="exclude")
        leads.click(f"#export-{kind}")
        leads.wait_for("#export-text", "exported")
        file = saved(tmp_path)
        assert file.suffix == f".{kind}"
        expected = exported(listed, format=kind, source=SOURCE, duplicates="exclude", sortOrder="DESC")
        assert file.read_bytes() == expected
        assert 0 < expected.count(b"\n") < listed.page()["pagination"]["total"]
        file.unlink()

        # And of a person, whose address does not come into the name of the file
        find(leads, SHARED_EMAIL)
        assert_shows(leads, listed, email=SHARED_EMAIL)
        leads.click(f"#export-{kind}")
        file = saved(tmp_path)
        assert file.read_bytes() == exported(listed, format=kind, email=SHARED_EMAIL, sortOrder="DESC")
        assert "shared" not in file.name.lower()


def test_who_may_not_export_sees_no_button_for_it(page: LeadPage, listed: Service):
    page.visit(listed, "leads")
    page.requests()
    page.log_in(READER)
    assert_shows(page, listed)

    assert not page.is_there("[id^=export]")
    assert "Export" not in page.shown("#main")
    assert not any("export" in each for each in requests_to_the_api(page, listed))


def requests_to_the_api(page: LeadPage, service: Service) -> set[str]:
    """Return the paths of the API that were asked for since the last call."""
    urls = [each.split()[1] for each in page.requests()]
    return {urllib.parse.urlsplit(each).path for each in urls if each.startswith(f"{service.base_url}/api/")}


def test_who_may_only_send_sees_none_of_the_leads_and_nothing_of_them_is_asked(page: LeadPage, listed: Service):
    lead = listed.page(limit=1)["items"][0]["id"]
    page.visit(listed, "leads")
    page.requests()
    page.log_in(SENDER)
    for fragment in ("now", "letters", "try", f"lead/{lead}", "leads?source=acme", "leads"):
        go_to(page, fragment)

        assert not {"now", "leads", "letters"} & {*page.tabs()}
        assert not page.is_there("#leads-table, #lead, #letters-list, #chart")

    assert requests_to_the_api(page, listed) == {"/api/login_check"}
    assert page.errors() == []


def test_who_may_read_sees_no_dead_letters_and_nothing_of_them_is_asked(page: LeadPage, listed: Service):
    page.visit(listed, "letters")
    page.requests()
    page.log_in(READER)
    page.wait_for("#heading", "Now")

    assert page.tabs() == ["now", "leads"]
    go_to(page, "leads")
    assert_shows(page, listed)
    go_to(page, "letters")
    assert not page.is_there("#letters-list")

    asked = requests_to_the_api(page, listed)
    assert "/api/leads" in asked
    assert not any("dead-letters" in each or "export" in each for each in asked)


@pytest.fixture(scope="module")
def bulky(listed: Service) -> Service:
    """The service with leads whose export is long."""
    for start in range(0, BULKY_LEADS, 400):
        leads = [a_person(1000 + start + at, email=BULKY, additionalData={"filling": FILLING}) for at in range(400)]
        listed.accept(*leads)
    listed.wait_until_nothing_waits()
    return listed


def test_an_export_that_has_to_wait_for_others_is_told_so(page: LeadPage, bulky: Service, tmp_path: Path):
    leads = at_the_list(page, bulky)
    fill(leads, source=SOURCE)
    assert_shows(leads, bulky, source=SOURCE)
    with downloads(leads, tmp_path):
        # Given as many exports of others as the service sends at once
        with ask(bulky, bulky.token(EXPORTERS[0])) as one, ask(bulky, bulky.token(EXPORTERS[1])) as two:
            assert one.recv(1000).startswith(b"HTTP/1.1 200")
            assert two.recv(1000).startswith(b"HTTP/1.1 200")
            refused = assert_error(bulky.get("/api/leads/export"), 503)

            # When one is wanted, then the API's word is shown
            leads.click("#export-csv")
            leads.wait_for("#export-problem", refused["message"])
            assert_logged(bulky, leads.shown("#export-problem code"), 503)
            assert leads.shown("#export-text") == "There is no file."
            assert list(tmp_path.iterdir()) == []

        # And it is sent when they are over
        until(lambda: bulky.get("/api/leads/export", params={"source": "nobody"}).status_code == 200)
        leads.click("#export-csv")
        file = saved(tmp_path)
        assert leads.shown("#export-problem") == ""
        assert file.read_bytes() == exported(bulky, source=SOURCE, sortOrder="DESC")


def test_a_long_export_is_one_whole_file(page: LeadPage, bulky: Service, tmp_path: Path):
    leads = at_the_list(page, bulky)
    find(leads, BULKY)
    assert_shows(leads, bulky, email=BULKY)
    with downloads(leads, tmp_path):
        leads.click("#export-ndjson")
        leads.wait_for("#export-text", "exported")

        assert saved(tmp_path).read_bytes() == exported(bulky, format="ndjson", email=BULKY, sortOrder="DESC")


def test_an_export_that_is_cancelled_leaves_no_file(page: LeadPage, bulky: Service, tmp_path: Path):
    leads = at_the_list(page, bulky)
    with downloads(leads, tmp_path), slow_downloads(leads, 200_000):
        leads.click("#export-csv")
        leads.wait_for("#export-text", "received")
        leads.click("#export-cancel")
        leads.wait_for("#export-text", "cancelled")

        assert list(tmp_path.iterdir()) == []
    # Nothing of it goes on at the API
    assert exported(bulky, source="nobody")


def test_an_export_that_breaks_off_is_told_and_leaves_no_file(page: LeadPage, bulky: Service, tmp_path: Path):
    leads = at_the_list(page, bulky)
    with downloads(leads, tmp_path), slow_downloads(leads, 500_000):
        leads.click("#export-csv")
        leads.wait_for("#export-text", "received")

        # When the processes that send it are killed
        api = bulky.one("api")
        for each in (api, *api.children(recursive=True)):
            each.kill()

        # Then the page says so, and there is no file that somebody could take for the whole
        leads.wait_for("#export-text", "There is no file.")
        assert "broke" in leads.shown("#export-text")
        assert list(tmp_path.iterdir()) == []
    # And it can be had when the API is back
    until(lambda: httpx.get(f"{bulky.base_url}/health/ready", timeout=20).status_code == 200)
    fill(leads, source=SOURCE)
    assert_shows(leads, bulky, source=SOURCE)
    with downloads(leads, tmp_path):
        leads.click("#export-csv")
        assert saved(tmp_path).read_bytes() == exported(bulky, source=SOURCE, sortOrder="DESC")
