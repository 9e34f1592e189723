"""The page's view Leads as tests see it: the leads that are there, and what stands on the page."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from tests.kit.leads import a_lead, assert_success
from tests.kit.page import LeadPage
from tests.kit.servers import until
from tests.kit.service import PASSWORD, Service

SOURCE = "acme"
SHARED_EMAIL, SHARED_PHONE = "Shared.Address@example.com", "+493099999"

# Users by their only role; the test user has ingest, read and export.
SENDER, READER = "sender@example.com", "reader@example.com"
USERS = {SENDER: "ingest", READER: "read"}

# Leads on a page of the list at first.
LIMIT = 25

# Among them equal ones, and such as are sorted by more than their letters.
FIRST = ("Ada", "ada", "Ångström", "Zoë", "Émile", "Grace", "Alan", "O'Brien", "李", "Ada")
LAST = ("Lovelace", "de la Cruz", "Hopper", "Turing", "Łukasiewicz", "ß", "Turing")


def a_person(number: int, **changes: Any) -> dict[str, Any]:
    """Return a lead of a person who came once."""
    lead = {
        "firstName": FIRST[number % len(FIRST)],
        "lastName": LAST[number % len(LAST)],
        "email": f"person{number * 37 % 101}.{number}@example.com",
        "phone": f"+4930{number:06}",
    }
    return a_lead(**lead | changes)


def fill_service(service: Service) -> None:
    """Add users, and some pages of leads, a source's and duplicates among them."""
    commands = [("source", "create", SOURCE, "--role", "ingest")]
    commands += [("user", "create", email, "--role", role) for email, role in USERS.items()]
    with ThreadPoolExecutor(len(commands)) as threads:
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


def at_the_list(page: LeadPage, service: Service) -> LeadPage:
    """Open the page at the list, as the test user sees it."""
    page.visit(service, "leads")
    page.log_in()
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


def assert_logged(service: Service, request_id: str, status: int) -> None:
    """Check that the service's log has a request, by the id that the page shows."""
    assert request_id
    log = service.data / "logs" / "api.log"

    def lines() -> list[str]:
        return [line for line in log.read_text().splitlines() if request_id in line]

    assert json.loads(until(lines)[-1])["status"] == status
