"""docs/metrics.md and Grafana's overview are what their declarations say."""

import json
import re
from pathlib import Path

from compose.monitoring import dashboard, metrics_reference

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
OVERVIEW = ROOT / "compose" / "monitoring" / "grafana" / "dashboards" / "overview.json"
RULES = (ROOT / "compose" / "monitoring" / "prometheus" / "alerts.yml").read_text()


def documented() -> set[str]:
    return set(re.findall(r"^\| `(leads_\w+)` \|", PAGE, re.MULTILINE))


def used_in(text: str) -> set[str]:
    names = set(re.findall(r"\bleads_\w+", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_the_page_is_current():
    assert metrics_reference.reference() == PAGE, "run `make docs`"


def test_the_dashboard_is_current():
    assert json.loads(OVERVIEW.read_text()) == dashboard.dashboard(), "run `make docs`"


def test_dashboard_and_alerts_ask_for_nothing_that_is_not_documented():
    assert used_in(OVERVIEW.read_text()) <= documented()
    assert used_in(RULES) <= documented()


def test_the_names_follow_the_conventions_of_prometheus():
    kinds = dict(re.findall(r"^\| `(leads_\w+)` \| (\w+) \|", PAGE, re.MULTILINE))

    assert len(kinds) > 30
    for name, kind in kinds.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(milliseconds|minutes|kilobytes|percent)", name)
