"""The site as a reader meets it: at the width of a phone and of a desk, from disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from selenium import webdriver

from benchmarks.chromium import resize, wait
from in_browser import asked_for
from pages import ROOT

pytestmark = [pytest.mark.evidence, pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

PAGES = (
    "index.html",
    "tutorials/what_it_sees.html",
    "results/pretraining/study.html",
    "reference/errors.html",
)
"""The start, a tutorial, a page of evidence, and the reference."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make docs` makes it."""
    folder = tmp_path_factory.mktemp("site")
    words = ("-m", "sphinx", "-E", "-q", "-b", "html", "docs", str(folder / "build"))
    doctrees = "-d", str(folder / "doctrees")
    done = subprocess.run(
        [sys.executable, *words, *doctrees], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "build"


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_asks_for_nothing_outside_and_says_no_error(
    page: str, width: int, site: Path, browser: webdriver.Chrome
) -> None:
    resize(browser, width)
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get((site / page).as_uri())
    wait(lambda: browser.execute_script("return document.readyState") == "complete", browser)
    wide, own = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert own == width
    assert wide <= width
    assert browser.execute_script("return document.querySelector('h1').textContent")
    assert [one for one in browser.get_log("browser") if one["level"] == "SEVERE"] == []
    outside = [url for url in asked_for(browser) if not url.startswith(("file:", "data:"))]
    assert outside == []
