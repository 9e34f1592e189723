"""axe-core, which finds what people with a screen reader, bad eyes or no mouse stumble over: `make axe` installs it."""

import os
from pathlib import Path

import pytest

from tests.kit.browser import Browser

AXE = Path(__file__).parents[1] / "browser" / "node_modules" / "axe-core" / "axe.min.js"

# All rules, those that are no law but good practice too.
RUN = """
    const [context, done] = arguments;
    axe.run(context, {resultTypes: ['violations']}).then(
        ({violations}) => done(violations.flatMap(({id, help, nodes}) =>
            nodes.map(({html, failureSummary}) => `${id}: ${help}\\n${html}\\n${failureSummary}`))),
        (error) => done([String(error)]),
    );
"""


def load_axe(page: Browser) -> None:
    """Load axe into the page, until it is opened anew. Without axe skip the test, or in CI fail it."""
    if not AXE.exists():
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report("axe is not installed: make axe does it")
    page.run(AXE.read_text())


def violations(page: Browser, part: str = "html") -> list[str]:
    """Return what axe finds in a part of the page, given by a CSS selector."""
    found: list[str] = page.driver.execute_async_script(RUN, part)
    return found
