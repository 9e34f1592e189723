"""A real browser: Debian's Chromium, without a window, driven by Selenium."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver

from tests.servers import program

# Seconds for a page to load on a busy machine.
LOAD_DEADLINE = 60


@contextmanager
def browser(width: int = 1280, height: int = 800) -> Iterator[webdriver.Chrome]:
    """Open a browser of its own for the block. Nothing of it stays behind, and it asks nobody but the given pages."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for flag in (
        "--headless=new",
        f"--window-size={width},{height}",
        # Root may not use Chromium's own sandbox, and containers have a small /dev/shm.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--lang=en",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Driver(program("chromedriver")))
    try:
        driver.set_page_load_timeout(LOAD_DEADLINE)
        yield driver
    finally:
        driver.quit()


def complaints(driver: webdriver.Chrome) -> list[str]:
    """Return what the browser's console holds against the page since it was last asked."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def save(driver: webdriver.Chrome, path: Path) -> None:
    """Save what is seen as a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert driver.save_screenshot(str(path))
