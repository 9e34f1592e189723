"""One lead on the page in a browser: found, shown with all that it has, and nothing but text."""

import json
import urllib.parse

import pytest

from tests.kit.leads import assert_error
from tests.kit.page import LeadPage, go_to
from tests.kit.servers import until
from tests.kit.service import Service

from .lead_list import SHARED_EMAIL, SOURCE, a_person, assert_logged, assert_shows, fill, find

UNKNOWN = "019a0000-0000-7000-8000-000000000000"


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


@pytest.mark.parametrize("fragment", ["lead/%", "lead", "lead/../stats", "constructor", "__proto__", "leads?page=%"])
def test_an_address_that_nobody_made_breaks_nothing(leads: LeadPage, listed: Service, fragment: str):
    leads.errors()

    go_to(leads, fragment)

    assert leads.shown("#heading")
    assert leads.shown("main")
    leads.go("leads")
    assert_shows(leads, listed)
    assert not [each for each in leads.errors() if "Uncaught" in each]


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
