"""The view Try it: a lead is followed to its row, and a thousand are seen to arrive."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.leads import NOT_EMAIL, NOT_PHONE, UUID7
from tests.kit.page import LeadPage
from tests.kit.service import Service

TOOK = r"(0\.\d+|\d[\d.,]*) (s|min)"
THOUSAND = 1000

# Longest time (seconds) from `make run` until a thousand leads were seen to arrive.
FIRST_MINUTE = 60


@pytest.fixture
def trying(seen: Service, page: LeadPage) -> LeadPage:
    """The view."""
    page.visit(seen)
    page.log_in()
    page.go("try")
    return page


def test_a_lead_is_followed_from_its_202_to_its_row(seen: Service, trying: LeadPage):
    email = trying.run("return document.getElementById('try-email').value")

    with seen.suspended("worker"):
        trying.click("#try-send")

        trying.wait(lambda: trying.is_there("#step-stored"))
        assert re.search(rf"202 after {TOOK}", trying.shown("#step-accepted"))
        lead_id = re.search(UUID7, trying.shown("#step-queued"))[0]
        assert seen.lead(lead_id)["state"] == "queued"
        trying.wait(lambda: re.search(rf"still waits after {TOOK}", trying.shown("#step-stored")))
        assert trying.attribute("#step-stored", "data-level") == "unknown"

    trying.wait(lambda: re.search(rf"stored after {TOOK}", trying.shown("#step-stored")))
    assert trying.attribute("#step-stored", "data-level") == "ok"
    lead = seen.lead(lead_id)
    assert (lead["email"], lead["state"]) == (email, "stored")
    assert trying.errors() == []

    # It is one click away, and another lead stands in the form
    assert trying.run("return document.getElementById('try-email').value") != email
    trying.click("#step-queued a")
    trying.wait(lambda: trying.shown("#heading") == "Lead")
    trying.wait_for("#lead", email)


def test_what_is_wrong_stands_beside_its_field_and_the_first_one_has_the_focus(seen: Service, trying: LeadPage):
    trying.write("#try-email", "not an address")
    trying.write("#try-phone", "12-34")
    trying.write("#try-firstName", "Grace")

    trying.click("#try-send")

    trying.wait(lambda: trying.shown("#try-email-error") != "")
    assert trying.shown("#try-email-error") == NOT_EMAIL
    assert trying.shown("#try-phone-error") == NOT_PHONE
    assert trying.shown("#try-firstName-error") == ""
    for name in ("email", "phone"):
        assert trying.attribute(f"#try-{name}", "aria-invalid") == "true"
        assert f"try-{name}-error" in str(trying.attribute(f"#try-{name}", "aria-describedby"))
    assert trying.run("return document.activeElement.id") == "try-email"
    assert "Validation failed" in trying.shown("#try-problem")
    assert re.search(r"Request \S{8}", trying.shown("#try-problem"))
    # What was written is still there, and is sent once it is right
    assert trying.run("return document.getElementById('try-firstName').value") == "Grace"
    trying.write("#try-email", "grace@example.com")
    trying.write("#try-phone", "+442071234567")
    trying.click("#try-send")
    trying.wait(lambda: "stored after" in trying.shown("#step-stored"))
    assert not trying.is_there("[aria-invalid]")
    assert trying.shown("#try-problem") == ""


def test_additional_data_that_is_no_json_is_not_sent(seen: Service, trying: LeadPage):
    trying.write("#try-additionalData", "{campaign")
    trying.requests()

    trying.click("#try-send")

    trying.wait(lambda: trying.shown("#try-additionalData-error") != "")
    assert not any(each.startswith("POST") for each in trying.requests())

    trying.write("#try-additionalData", '["a", "list"]')
    trying.click("#try-send")
    trying.wait(lambda: any(each.startswith("POST") for each in trying.requests()))
    trying.wait(lambda: "JSON object" in trying.shown("#try-additionalData-error"))


def test_a_thousand_leads_are_seen_to_arrive(seen: Service, trying: LeadPage):
    accepted = seen.ledger()["accepted"]

    with seen.suspended("worker"):
        trying.click("#try-thousand")
        trying.wait(lambda: "0 of 1,000 stored" in trying.shown("#thousand-text"))
        assert re.search(rf"202 after {TOOK}", trying.shown("#thousand-text"))
        assert trying.attribute("#thousand-progress", "hidden") is None

    trying.wait(
        lambda: re.search(rf"1,000 of 1,000 stored\..* all stored after {TOOK}", trying.shown("#thousand-text"))
    )
    assert trying.run("return document.getElementById('thousand-progress').value") == THOUSAND
    assert seen.ledger()["accepted"] == accepted + THOUSAND

    # And they are in the list, without their number in the address
    trying.click("#thousand-more a[href='#leads']")
    trying.wait(lambda: trying.shown("#leads-total").startswith("1,000 leads match"))
    assert trying.run("return location.hash") == "#leads"
    assert trying.errors() == []


def test_a_queue_that_is_away_refuses_and_the_page_says_so_with_the_request_id(tmp_path: Path, page: LeadPage):
    with Service(tmp_path, redis_timeout=1, rate_limit_timeout=1) as service:
        page.visit(service)
        page.log_in()
        page.go("try")

        def wait_for_refusal(place: str) -> None:
            page.wait(lambda: re.search(r"503 .*Request \S{8}", page.shown(place)))

        with service.suspended("queue"):
            page.click("#try-send")
            wait_for_refusal("#try-problem")
            page.click("#try-thousand")
            wait_for_refusal("#try-many ~ #thousand-more")
            page.go("now")
            page.wait(lambda: page.attribute("#state", "data-kind") == "queue")
            assert page.shown("#state-sentence").startswith("The queue is away")
            assert page.attribute("#state", "data-level") == "bad"

        page.wait(lambda: page.attribute("#state", "data-level") == "ok")
        page.go("try")
        page.click("#try-send")
        page.wait(lambda: "stored after" in page.shown("#step-stored"))


def test_from_make_run_to_a_thousand_seen_it_is_less_than_a_minute(
    tmp_path: Path, page: LeadPage, record_property: Callable
):
    began = time.monotonic()
    with Service(tmp_path) as service:
        # What a person reads
        address = re.search(r"Page +(http://\S+)", service.output)[1]
        email, password = re.search(r"Login +(\S+) +password (\S+)", service.output).groups()

        page.open(address)
        page.log_in(email, password)
        page.wait(lambda: page.number("#waiting") == 0)
        page.go("try")
        page.click("#try-thousand")
        page.wait(lambda: "1,000 of 1,000 stored" in page.shown("#thousand-text"))
        page.go("now")
        page.wait(lambda: "accepted 1,000 = stored 1,000 + waiting 0" in page.shown("#ledger"))
        page.wait(lambda: sum(accepted for accepted, _, _ in page.bars()) == THOUSAND)
        took = time.monotonic() - began

    record_property("seconds", round(took, 1))
    print(f"a thousand leads were seen {took:.1f} s after make run")
    assert took < FIRST_MINUTE
    assert page.errors() == []
