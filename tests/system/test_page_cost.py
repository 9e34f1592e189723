"""How much an open page asks of the API. What that costs is measured by `make bench-page`."""

from collections.abc import Callable

import pytest

from tests.kit.page import LeadPage
from tests.kit.service import Service

WATCHED = 20_000  # milliseconds
MINUTE = 60_000
REQUESTS_MAX = 40  # a minute, of one page: twenty of them stay below one address's limit


@pytest.mark.slow
def test_an_open_page_asks_each_two_seconds_and_seldom_for_more(
    seen: Service, page: LeadPage, record_property: Callable[[str, object], None]
):
    page.visit(seen)
    page.log_in()
    page.wait(lambda: page.number("#waiting") is not None)
    clock = "return performance.now()"
    page.requests()
    before, began = seen.answered(), page.run(clock)

    page.wait(lambda: page.run(clock) > began + WATCHED)

    requests = seen.answered() - before
    minute = requests * MINUTE / (page.run(clock) - began)
    record_property("requests a minute", round(minute))
    print(f"{minute:.0f} requests a minute of one page")
    # One may be on its way at either end
    assert abs(requests - len([each for each in page.requests() if "/api/" in each])) <= 1
    assert 0 < minute <= REQUESTS_MAX
    assert page.errors() == []
