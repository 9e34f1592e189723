"""compose/monitoring/prometheus: the alerts fire when they should, and each has a paragraph that says what to do."""

import re
import subprocess
from pathlib import Path

from tests.kit.servers import program

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "compose" / "monitoring" / "prometheus"
RULES = (PROMETHEUS / "alerts.yml").read_text()
TESTS = (PROMETHEUS / "alerts-test.yml").read_text()

NAMES = re.findall(r"- alert: (\w+)", RULES)


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        [program("promtool"), *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_configuration_is_valid():
    assert "SUCCESS" in promtool("check", "config", "prometheus.yml")


def test_each_alert_fires_when_it_should_and_clears():
    assert "SUCCESS" in promtool("test", "rules", "alerts-test.yml")


def test_no_alert_is_without_a_test_and_a_runbook():
    page = (ROOT / "docs" / "operations.md").read_text()

    assert len(NAMES) >= 9
    for name in NAMES:
        assert TESTS.count(f"alertname: {name}") >= 3, name
        assert f"docs/operations.md#{name.lower()}\n" in RULES
        assert f"\n### {name}\n" in page, f"docs/operations.md has no paragraph {name}"
