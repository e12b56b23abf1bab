"""Seeds of two methods, read by keyboard: bands, profiles, films, and data to carry away."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

import report_samples as samples
from fovea import metrics
from fovea.analysis import report
from in_browser import drawn, middle, text_of, wait

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, browser: Chrome) -> Iterator[Chrome]:
    """Three seeds each of two agents, a pretraining that was probed meanwhile, and its probes."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        samples.agent(folder / f"seed-{seed}" / "pong" / "eyes", "eyes", seed=seed, gain=4)
        samples.agent(folder / f"seed-{seed}" / "pong" / "cnn", "cnn", seed=seed + 3)
    logged = [
        (step, {metrics.LOSS: 2 - step / 500, "probe/collapse/rankme": 2 + step / 100,
                "probe/sparsity/hoyer": step / 1000})
        for step in range(100, 501, 100)
    ]  # fmt: skip
    samples.run(folder / "recipe", "pretrain", logged)
    samples.probes(folder / "probes")
    size = {"width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(report([folder], folder / "report")[0].as_uri())
    yield browser
    assert browser.get_log("browser") == []


def groups(page: Chrome, within: str = "main") -> list[WebElement]:
    """All groups of figures of a part of the page, drawn."""
    return [
        drawn(page, group) for group in page.find_elements(By.CSS_SELECTOR, f"{within} .charts")
    ]


def test_seeds_have_thin_lines_a_band_and_figures_over_all(page: Chrome) -> None:
    groups(page, "#agents")
    role = """return [...document.querySelectorAll('#agents .chart')].flatMap((chart) =>
        chart.data.map((t) => [t.meta?.of, t.meta?.role, Boolean(t.fill)]))"""
    traces = [tuple(one) for one in page.execute_script(role)]
    for method in ("eyes", "cnn"):
        assert traces.count((method, "seed", False)) >= 3
        assert (method, "mean", False) in traces
        assert (method, "mean", True) in traces  # its band
    titles = text_of(page.find_elements(By.CSS_SELECTOR, "#agents .gtitle"))
    for named in ("IQM", "Sample efficiency", "Performance profile"):
        assert any(named in title for title in titles), titles
    said = page.find_element(By.ID, "agents").get_attribute("textContent")
    assert "robability of improvement" in said


def test_collapse_and_sparsity_are_drawn_over_training(page: Chrome) -> None:
    groups(page, "#pretraining")
    titles = text_of(page.find_elements(By.CSS_SELECTOR, "#pretraining .gtitle"))
    for measure in ("rankme", "hoyer"):
        assert any(measure in title.lower() for title in titles), titles


def test_every_figure_has_its_data_as_text_and_as_a_file(page: Chrome, tmp_path: Path) -> None:
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    figures = groups(page)
    assert len(figures) > 8
    for number, group in enumerate(figures):
        script = "arguments[0].querySelector('.data details').open = true"
        page.execute_script(script, group)
        cells = wait(lambda group=group: group.find_elements(By.CSS_SELECTOR, ".text td"), page)
        assert cells[0].get_attribute("textContent")
        button = group.find_element(By.CSS_SELECTOR, ".save")
        middle(page, button)
        button.click()

        def saved(count: int = number + 1) -> list[Path]:
            files = list(tmp_path.glob("*.csv"))
            return files if len(files) == count else []

        newest = max(wait(saved, page), key=lambda path: path.stat().st_mtime_ns)
        traces = "return [...arguments[0].querySelectorAll('.chart')].flatMap((c) => c.data).length"
        names = {row["name"] for row in csv.DictReader(newest.open(encoding="utf-8"))}
        assert names
        assert page.execute_script(traces, group) >= len(names)


def test_tables_sort_films_play_and_choices_change_by_keyboard(page: Chrome) -> None:
    table = page.find_element(By.CSS_SELECTOR, "#runs .tabled table, #runs table")
    head = table.find_elements(By.CSS_SELECTOR, "th button")[0]
    middle(page, head)
    order = "return arguments[0].closest('th').getAttribute('aria-sort')"
    head.send_keys(Keys.ENTER)
    first = page.execute_script(order, head)
    head.send_keys(Keys.SPACE)
    assert {first, page.execute_script(order, head)} == {"ascending", "descending"}

    film = page.find_element(By.CSS_SELECTOR, ".attention")
    middle(page, film)
    slider = film.find_element(By.CSS_SELECTOR, ".screen")
    said = film.find_element(By.TAG_NAME, "output")
    before = said.text
    slider.send_keys(Keys.ARROW_RIGHT)
    wait(lambda: said.text != before, page)
    play = film.find_element(By.CSS_SELECTOR, ".play")
    at = said.text
    play.send_keys(Keys.ENTER)
    wait(lambda: said.text != at, page)
    play.send_keys(Keys.ENTER)
    chosen = film.find_element(By.CSS_SELECTOR, ".map")
    value = chosen.get_attribute("value")
    chosen.send_keys(Keys.ARROW_DOWN)
    wait(lambda: chosen.get_attribute("value") != value, page)


def test_the_tab_key_reaches_what_can_be_used(page: Chrome) -> None:
    page.execute_script("window.scrollTo(0, 0); document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        ActionChains(page).send_keys(Keys.TAB).perform()
        active = page.switch_to.active_element
        reached.add(active.tag_name)
    assert {"a", "button", "input", "select"} <= reached
