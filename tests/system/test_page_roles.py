"""What each role sees of the page in a browser, and that the page asks nothing else for it."""

import urllib.parse

from tests.kit.page import LeadPage, go_to
from tests.kit.service import PASSWORD, Service

from .lead_list import READER, SENDER, assert_shows


def requests_to_the_api(page: LeadPage, service: Service) -> set[str]:
    """Return the paths of the API that were asked for since the last call."""
    urls = [each.split()[1] for each in page.requests()]
    return {urllib.parse.urlsplit(each).path for each in urls if each.startswith(f"{service.base_url}/api/")}


def test_who_may_not_export_sees_no_button_for_it(page: LeadPage, listed: Service):
    page.visit(listed, "leads")
    page.requests()
    page.log_in(READER, PASSWORD)
    assert_shows(page, listed)

    assert not page.is_there("[id^=export]")
    assert "Export" not in page.shown("#main")
    assert not any("export" in each for each in requests_to_the_api(page, listed))


def test_who_may_only_send_sees_none_of_the_leads_and_nothing_of_them_is_asked(page: LeadPage, listed: Service):
    lead = listed.page(limit=1)["items"][0]["id"]
    page.visit(listed, "leads")
    page.requests()
    page.log_in(SENDER, PASSWORD)
    for fragment in ("now", "letters", "try", f"lead/{lead}", "leads?source=acme", "leads"):
        go_to(page, fragment)

        assert not {"now", "leads", "letters"} & {*page.tabs()}
        assert not page.is_there("#leads-table, #lead, #letters-list, #chart")

    assert requests_to_the_api(page, listed) == {"/api/login_check"}
    assert page.errors() == []


def test_who_may_read_sees_no_dead_letters_and_nothing_of_them_is_asked(page: LeadPage, listed: Service):
    page.visit(listed, "letters")
    page.requests()
    page.log_in(READER, PASSWORD)
    page.wait_for("#heading", "Now")

    assert page.tabs() == ["now", "leads"]
    go_to(page, "leads")
    assert_shows(page, listed)
    go_to(page, "letters")
    assert not page.is_there("#letters-list")

    asked = requests_to_the_api(page, listed)
    assert "/api/leads" in asked
    assert not any("dead-letters" in each or "export" in each for each in asked)
