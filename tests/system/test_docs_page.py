"""/api/docs in a real browser: log in, authorize, send a lead by "Try it out", and see it."""

import json
import re
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.kit.browser import Browser, browser
from tests.kit.leads import a_lead
from tests.kit.service import EMAIL, PASSWORD, Service

LOGIN, POST, LIST = "#operations-Log-in-login", "#operations-Leads-postLead", "#operations-Leads-listLeads"


def write(page: Browser, selector: str, text: str) -> None:
    """Replace what stands in a field."""
    page.find(selector).send_keys(Keys.CONTROL, "a")
    page.find(selector).send_keys(text)


def execute(page: Browser, operation: str, body: object = None, **parameters: str) -> str:
    """Try an operation out; return the status and the body that the page shows."""
    page.click(f"{operation} .opblock-summary-control")
    page.click(f"{operation} .try-out__btn")
    if body is not None:
        write(page, f"{operation} .body-param__text", json.dumps(body))
    for name, value in parameters.items():
        write(page, f'{operation} tr[data-param-name="{name}"] input', value)
    page.click(f"{operation} .execute")
    shown = f"{operation} .live-responses-table .response"
    page.wait(lambda: re.match(r"\d{3}\b", page.text(shown)))
    return page.text(shown)


@pytest.mark.slow
def test_a_person_logs_in_sends_a_lead_and_sees_it(embedded: Service, tmp_path: Path):
    lead = a_lead(lastName="Browser")
    with browser(tmp_path) as page:
        page.open(f"{embedded.base_url}/api/docs")

        answer = execute(page, LOGIN, {"email": EMAIL, "password": PASSWORD})
        assert answer.startswith("200")
        token = re.search(r'"token": "([^"]+)"', answer).group(1)

        page.click(".auth-wrapper .authorize")
        write(page, ".auth-container input", token)
        page.click(".auth-btn-wrapper .authorize")
        page.click(".auth-btn-wrapper .btn-done")

        answer = execute(page, POST, lead)
        assert answer.startswith("202")
        lead_id = re.search(r'"id": "([0-9a-f-]{36})"', answer).group(1)
        embedded.wait_until_stored(lead_id)

        answer = execute(page, LIST, email=lead["email"])
        assert answer.startswith("200")
        assert lead_id in answer
        assert '"state": "stored"' in answer
        assert '"total": 1' in answer
        # The token is in the memory of the page alone.
        assert page.driver.execute_script("return JSON.stringify([localStorage, sessionStorage])") == "[{},{}]"
        assert page.errors() == []
