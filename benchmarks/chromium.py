"""Chromium without a screen: for pages that are tested, measured and pictured."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from fovea.command import UserError

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MOST = 60  # seconds that something is waited for

Found = TypeVar("Found")


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Chromium, or Chrome, with a profile of its own; it keeps what it logged and asked for.

    Raises UserError where there is none, or no chromedriver.
    """
    found = (shutil.which(name) for name in ("chromium", "google-chrome"))
    browser, driver = next(filter(None, found), None), shutil.which("chromedriver")
    if not (browser and driver):
        raise UserError("no chromium and chromedriver: install the packages of these names")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        opened = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield opened
        finally:
            opened.quit()


def resize(browser: webdriver.Chrome, width: int, height: int = 900) -> None:
    """Give the page so many pixels."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait(condition: Callable[[], Found], browser: webdriver.Chrome) -> Found:
    """Its first true value. Asked often: a page draws in less than Selenium's half second."""
    return WebDriverWait(browser, MOST, poll_frequency=0.05).until(lambda _: condition())


def middle(browser: webdriver.Chrome, element: WebElement) -> None:
    """Scroll an element to the middle of the screen."""
    how = "{behavior: 'instant', block: 'center'}"
    browser.execute_script(f"arguments[0].scrollIntoView({how})", element)


def drawn(browser: webdriver.Chrome, group: WebElement) -> WebElement:
    """A group of figures, brought near the screen and drawn as what is chosen now asks for."""
    middle(browser, group)
    wait(lambda: group.get_attribute("data-drawn"), browser)
    return group


def draw_all(browser: webdriver.Chrome) -> int:
    """Draw every group of figures of a page; how many there are."""
    groups = browser.find_elements(By.CSS_SELECTOR, ".charts")
    for group in groups:
        drawn(browser, group)
    return len(groups)
