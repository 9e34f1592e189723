"""Debian's Chromium, without a window. It reaches this machine alone: a page that needs the internet does not work."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.wait import WebDriverWait

from tests.kit.servers import program

# Seconds for a page to do what is expected of it, on a busy machine.
TIMEOUT = 30

# Schemes of what a browser asks itself.
OWN = ("chrome:", "data:", "blob:")


class Browser:
    """A browser with one page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Open a page."""
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        """Wait for the first element of a CSS selector that can be clicked, and return it."""
        return WebDriverWait(self.driver, TIMEOUT).until(element_to_be_clickable((By.CSS_SELECTOR, selector)))

    def click(self, selector: str) -> None:
        """Wait for an element, and click it, wherever on the page it is."""
        element = self.find(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        self.find(selector).click()

    def text(self, selector: str) -> str:
        """Return the text of all elements of a CSS selector that are there now."""
        return "\n".join(each.text for each in self.driver.find_elements(By.CSS_SELECTOR, selector))

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until a condition is true."""
        WebDriverWait(self.driver, TIMEOUT).until(lambda _: condition())

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page, and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def reset(self) -> None:
        """Undo `resize` and `prefer`, and forget what was requested and written to the console."""
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.prefer()
        self.requests()
        self.errors()

    def press(self, *keys: str) -> None:
        """Press keys, at whatever has the focus."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def resize(self, width: int, height: int = 900) -> None:
        """Give the page a size, in CSS pixels, which may be any: a window has a least width."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, **features: str) -> None:
        """Set what the viewer prefers: `prefers_color_scheme="dark"`."""
        named = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": named})

    @contextmanager
    def network(self, *, latency: float = 0, offline: bool = False) -> Iterator[None]:
        """Add so many seconds to each request, or fail it."""
        self._emulate(latency, offline)
        try:
            yield
        finally:
            self._emulate(0, False)

    def _emulate(self, latency: float, offline: bool) -> None:
        conditions = {"latency": 1000 * latency, "offline": offline, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Hide the page, as behind another tab."""
        self._show("minimized")
        self.wait(lambda: self.run("return document.hidden"))
        try:
            yield
        finally:
            self._show("normal")

    def _show(self, state: str) -> None:
        window = self.driver.execute_cdp_cmd("Browser.getWindowForTarget", {})["windowId"]
        bounds = {"windowId": window, "bounds": {"windowState": state}}
        self.driver.execute_cdp_cmd("Browser.setWindowBounds", bounds)

    def requests(self) -> list[str]:
        """Return the requests since the last call, each as "METHOD URL", without those for the browser's own pages."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [each["params"]["request"] for each in events if each["method"] == "Network.requestWillBeSent"]
        return [f"{each['method']} {each['url']}" for each in sent if not each["url"].startswith(OWN)]

    def errors(self) -> list[str]:
        """Return what the page wrote to its console as errors."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def save(self, path: Path) -> None:
        """Save what is seen as a picture."""
        path.parent.mkdir(parents=True, exist_ok=True)
        assert self.driver.save_screenshot(str(path))


@contextmanager
def browser(directory: Path, width: int = 1280, height: int = 1600) -> Iterator[Browser]:
    """Start a browser that keeps its files in `directory`; without Chromium skip the test, or in CI fail it."""
    options = Options()
    options.binary_location = program("chromium")
    for flag in (
        "--headless=new",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        f"--window-size={width},{height}",
        "--lang=en-US",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={directory / 'profile'}",
    ):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("perfLoggingPrefs", {"enableNetwork": True, "enablePage": False})
    driver = webdriver.Chrome(options=options, service=Driver(program("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
