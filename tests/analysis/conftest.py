"""A report of a quickstart, made once, and a browser, opened once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

import report_samples as samples


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[samples.Text, dict, Path]:
    """The page as a reader sees it, the data of its charts, and its folder."""
    folder = samples.quickstart(tmp_path_factory.mktemp("runs"))
    out = folder / "report"
    return *samples.page(folder, out), out


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Headless Chromium, or Chrome, which keeps what it logged and asked for."""
    found = (shutil.which(name) for name in ("chromium", "google-chrome"))
    browser, driver = next(filter(None, found), None), shutil.which("chromedriver")
    if not (browser and driver):
        if os.environ.get("CI"):
            pytest.fail("no chromium and chromedriver, which CI must have")
        pytest.skip("no chromium and chromedriver installed")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()
