"""The page as a reader meets it: opened from disk in a browser, at the width of a phone and of a
desk. Skipped where no browser is installed; under CI a missing browser is a failure."""

import re
import time

import cv2
import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import report_samples as samples
from fovea.analysis import report
from fovea.probes import action, attention, attribution, collapse, intervention, sparsity, state
from fovea.probes import map as map_probe
from in_browser import asked_for, drawn, middle, text_of, wait

pytestmark = pytest.mark.browser

NASTY = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
NASTY_FOLDER = NASTY.replace("/", "")  # as no folder can be called


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = samples.quickstart(tmp_path_factory.mktemp("runs"))
    logged = [(step, {"loss": float("nan")}) for step in range(5)]
    samples.run(folder / "nasty", "pretrain", logged, name=NASTY, state="failed", reason=NASTY)
    samples.agent(folder / NASTY_FOLDER, "also", seed=3, name=NASTY, state="running")
    (folder / "odd").mkdir()
    (folder / "odd" / "run.json").write_text("{")
    return report([folder], folder / "report")[0]


@pytest.fixture(scope="module", params=[390, pytest.param(1440, marks=pytest.mark.evidence)])
def page(request, browser, out):
    """The page opened and read from top to bottom, so that all figures are drawn."""
    size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what the browser did before is not the page's
    browser.get(out.as_uri())
    for group in browser.find_elements(By.CSS_SELECTOR, ".charts, .attention, video"):
        charts = "charts" in group.get_attribute("class")
        drawn(browser, group) if charts else middle(browser, group)
    return browser


def test_every_view_has_drawn_marks(page):
    empty = page.execute_script(
        """return [...document.querySelectorAll(".chart")].filter((chart) => {
          const drawn = ".js-line, .point, .annotation-text, .hm image";
          const marks = [...chart.querySelectorAll(drawn)];
          return !marks.some((mark) => {
            const box = mark.getBoundingClientRect();
            return box.width > 1 && box.height + box.width > 3;
          });
        }).map((chart) => chart.ariaLabel);"""
    )
    assert empty == []
    assert len(page.find_elements(By.CSS_SELECTOR, ".chart")) > 20
    sections = page.find_elements(By.CSS_SELECTOR, "main > section")
    probes = [
        module.TITLE
        for module in (
            *(state, attention, attribution, intervention),
            *(sparsity, collapse, map_probe, action),
        )
    ]
    titles = text_of(section.find_element(By.TAG_NAME, "h2") for section in sections)
    assert titles == ["In short", "What ran", "Pretraining", *probes, "Agents"]
    for section in sections:
        assert section.size["height"] > 150


def test_nothing_is_wider_than_the_screen(page):
    for part in page.find_elements(By.TAG_NAME, "details"):
        page.execute_script("arguments[0].open = true", part)
    wide = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    width, room = page.execute_script(wide)
    assert width <= room


def test_the_map_selector_changes_the_encoders_pictures_and_not_the_screen(page):
    root = page.find_element(By.CSS_SELECTOR, ".attention")
    pictures = root.find_elements(By.CSS_SELECTOR, ".pictures .picture")
    assert len(pictures) == 4
    before, label = shots(page, pictures), pictures[1].get_attribute("aria-label")
    Select(root.find_element(By.CSS_SELECTOR, ".map")).select_by_value("block 2, head 1")
    after = wait(lambda: (now := shots(page, pictures)) != before and now, page)
    assert after[0] == before[0]
    assert all(new != old for new, old in zip(after[1:], before[1:], strict=True))
    assert "rollout" in label
    assert "block 2, head 1, on a screen of Pong" in pictures[1].get_attribute("aria-label")


def test_the_slider_changes_every_picture(page):
    root = page.find_element(By.CSS_SELECTOR, ".attention")
    pictures = root.find_elements(By.CSS_SELECTOR, ".pictures .picture")
    before = shots(page, pictures)
    page.execute_script(
        "arguments[0].value = 4; arguments[0].dispatchEvent(new Event('input'))",
        root.find_element(By.CSS_SELECTOR, ".screen"),
    )
    after = wait(lambda: (now := shots(page, pictures)) != before and now, page)
    assert all(new != old for new, old in zip(after, before, strict=True))
    assert root.find_element(By.TAG_NAME, "output").text == "Breakout, screen 5 of 9"


def test_all_maps_of_one_encoder_can_be_seen_at_once(page):
    every = page.find_element(By.CSS_SELECTOR, ".attention .every")
    page.execute_script("arguments[0].open = true", every)
    tiles = wait(lambda: every.find_elements(By.CSS_SELECTOR, ".heads .picture"), page)
    assert len(tiles) == 1 + 4 * 3
    assert len(set(shots(page, tiles[:4]))) == 4


def test_a_game_can_be_chosen(page):
    group = drawn(page, page.find_element(By.CSS_SELECTOR, "#probe-state .charts"))
    bars = "return arguments[0].querySelector('.chart').data.at(-1).x.join()"
    before = page.execute_script(bars, group)
    Select(group.find_element(By.CSS_SELECTOR, ".choice")).select_by_value("Freeway")
    wait(lambda: page.execute_script(bars, group) != before, page)


def test_a_click_on_a_head_sorts_by_number_and_a_second_one_the_other_way(page):
    table = page.find_element(By.CSS_SELECTOR, "#probe-state .tabled table")
    head = table.find_elements(By.TAG_NAME, "th")[2]
    values = (
        "return [...arguments[0].tBodies[0].rows].map((row) => Number(row.cells[2].dataset.value))"
    )
    before = page.execute_script(values, table)
    for order, reverse in (("descending", True), ("ascending", False)):
        page.execute_script("arguments[0].firstChild.click()", head)
        assert head.get_attribute("aria-sort") == order
        assert page.execute_script(values, table) == sorted(before, reverse=reverse)
    assert before != sorted(before)


def test_the_video_plays(page):
    video = page.find_element(By.TAG_NAME, "video")
    assert wait(lambda: page.execute_script("return arguments[0].readyState", video) >= 1, page)
    assert page.execute_script("return arguments[0].videoWidth", video) == 168


def test_a_name_that_looks_like_markup_is_text(page):
    time.sleep(0.2)
    assert page.execute_script("return window.hacked") is None
    runs = page.find_element(By.ID, "runs").get_attribute("textContent")
    assert NASTY_FOLDER in runs  # a run is called as its folder
    assert NASTY in page.find_element(By.TAG_NAME, "main").get_attribute(
        "textContent"
    )  # why it failed
    ticks = text_of(page.find_elements(By.CSS_SELECTOR, "#agents .xtick text"))
    assert any(NASTY_FOLDER in tick for tick in ticks)


def test_dark_and_light_differ_in_page_and_figures(page):
    look = """return [getComputedStyle(document.body).backgroundColor,
        document.querySelector('.chart').layout.template.layout.font.color]"""
    light = page.execute_script(look)
    button = page.find_element(By.CSS_SELECTOR, ".theme")
    middle(page, page.find_element(By.CLASS_NAME, "charts"))
    page.execute_script("arguments[0].click()", button)
    dark = wait(lambda: differs(page.execute_script(look), light), page)
    assert max(map(int, re.findall(r"\d+", dark[0]))) < 64
    page.execute_script("arguments[0].click()", button)
    wait(lambda: page.execute_script(look) == light, page)


def differs(look, other):
    """The look, if it is another in every place."""
    return all(a != b for a, b in zip(look, other, strict=True)) and look


def test_nothing_of_all_this_was_an_error_or_asked_for_anything_outside_the_folder(page, out):
    assert page.get_log("browser") == []
    asked = asked_for(page)
    assert any(url.endswith("assets/page.js") for url in asked)
    assert any(".webm" in url for url in asked)
    inside = out.parent.as_uri() + "/"
    assert [url for url in asked if not url.startswith((inside, "data:", "blob:"))] == []


def shots(browser, elements):
    """What each element looks like, as pixels, without its rounded edge."""
    taken = []
    for element in elements:
        middle(browser, element)
        screen = cv2.imdecode(np.frombuffer(browser.get_screenshot_as_png(), np.uint8), 1)
        box = browser.execute_script(
            "return arguments[0].getBoundingClientRect().toJSON()", element
        )
        left, top, right, bottom = (round(box[k]) for k in ("left", "top", "right", "bottom"))
        assert 0 <= top < bottom <= len(screen)
        # The edge depends on where between two pixels the element came to lie.
        taken.append(screen[top + 4 : bottom - 4, left + 4 : right - 4].tobytes())
    return taken
