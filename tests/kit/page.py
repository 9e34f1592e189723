"""The page for people in a browser: what a person does with it, and what stands on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.kit.browser import Browser, browser
from tests.kit.service import EMAIL, PASSWORD, Service

# What stands for a number that is not known.
NOTHING = "–"

# A user who sees every view: the one of the embedded run is no administrator.
ALL_ROLES = ("ingest", "read", "export", "admin")
ADMIN, ADMIN_PASSWORD = "admin@example.com", "a long enough password"


class LeadPage(Browser):
    """A browser with the page for people."""

    def visit(self, service: Service, view: str = "") -> None:
        """Open the page anew, at one of its views: nobody is logged in then."""
        self.open("about:blank")
        self.open(f"{service.base_url}/{'#' + view if view else ''}")
        self.find("#login-email")

    def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> None:
        """Log in, and wait for the first view."""
        self.try_to_log_in(email, password)
        self.find("#logout")

    def try_to_log_in(self, email: str = EMAIL, password: str = PASSWORD) -> None:
        """Send the form of the log-in."""
        self.write("#login-email", email)
        self.write("#login-password", password)
        self.press(Keys.ENTER)

    def go(self, view: str) -> None:
        """Go to a view by its tab: now, leads, letters or try."""
        self.click(f"#nav-{view}")
        self.wait(lambda: self.attribute(f"#nav-{view}", "aria-current") == "page")

    def write(self, selector: str, text: str) -> None:
        """Replace what stands in a field."""
        self.find(selector).send_keys(Keys.CONTROL, "a")
        self.find(selector).send_keys(text or Keys.DELETE)

    def choose(self, selector: str, value: str) -> None:
        """Choose a value of a list."""
        Select(self.find(selector)).select_by_value(value)

    def shown(self, selector: str) -> str:
        """Return the text of the first element of a CSS selector, or "" where there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def attribute(self, selector: str, name: str) -> str | None:
        """Return an attribute of the first element of a CSS selector, or None."""
        script = "return document.querySelector(arguments[0])?.getAttribute(arguments[1])"
        found: str | None = self.run(script, selector, name)
        return found

    def is_there(self, selector: str) -> bool:
        """Tell whether there is such an element, seen or not."""
        return bool(self.run("return document.querySelector(arguments[0]) !== null", selector))

    def number(self, selector: str) -> float | None:
        """Return the number that an element shows, or None while it shows none."""
        return number(self.shown(selector))

    def bars(self) -> list[list[int]]:
        """Return what the chart's table shows: accepted, stored and refused leads of each bar, newest first."""
        script = """
            document.getElementById('chart-table').open = true;
            const rows = [...document.querySelectorAll('#chart-table tbody tr')];
            return rows.map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent));
        """
        return [[int(number(cell) or 0) for cell in row] for row in self.run(script)]

    def wait_for(self, selector: str, text: str) -> None:
        """Wait until an element's text holds this one."""
        self.wait(lambda: text in self.shown(selector))

    def tabs(self) -> list[str]:
        """Return the tabs, by the names of their views."""
        ids: list[str] = self.run("return [...document.querySelectorAll('#nav a')].map(each => each.id)")
        return [each.removeprefix("nav-") for each in ids]


def number(text: str) -> float | None:
    """Return the number at the beginning of a text that a person reads: "1,234" or "0.2 s"."""
    found = text.strip().partition(" ")[0].replace(",", "")
    return None if found in ("", NOTHING) else float(found)


def add_admin(service: Service) -> None:
    """Add a user with all roles."""
    roles = [word for role in ALL_ROLES for word in ("--role", role)]
    done = service.user("create", ADMIN, *roles, password=ADMIN_PASSWORD)
    assert done.returncode == 0, done.stderr


@contextmanager
def lead_page(directory: Path, width: int = 1280, height: int = 1600) -> Iterator[LeadPage]:
    """Start a browser for the page, with its files in `directory`."""
    with browser(directory, width, height) as started:
        yield LeadPage(started.driver)


@contextmanager
def downloads(page: LeadPage, directory: Path) -> Iterator[None]:
    """Let the page save files in `directory`."""
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(directory)})
    try:
        yield
    finally:
        page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "default"})


@contextmanager
def slow_downloads(page: LeadPage, rate: int) -> Iterator[None]:
    """Let the page receive so many bytes a second."""
    conditions = {"latency": 0, "offline": False, "downloadThroughput": rate, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
    try:
        yield
    finally:
        unbounded = conditions | {"downloadThroughput": -1}
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", unbounded)


@contextmanager
def time_zone(page: LeadPage, name: str) -> Iterator[None]:
    """Set the viewer's time zone; the page must be opened anew within the block."""
    page.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": name})
    try:
        yield
    finally:
        page.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def go_to(page: LeadPage, fragment: str) -> None:
    """Change the address behind its `#`, and wait until the page has dealt with that."""
    page.run(
        "return new Promise((done) => {"
        "  if (location.hash === `#${arguments[0]}`) return done();"
        "  addEventListener('hashchange', () => setTimeout(done), {once: true});"
        "  location.hash = arguments[0];"
        "})",
        fragment,
    )
