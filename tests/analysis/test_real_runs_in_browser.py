"""The page of real runs in a browser: what commands made is drawn, before and after learning."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from benchmarks.chromium import resize
from in_browser import asked_for, drawn, middle, text_of, wait
from pages import run_commands

pytestmark = [
    pytest.mark.browser,
    pytest.mark.evidence,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]
PROBES = ("attention", "attribution", "collapse", "map", "similarity", "sparsity", "state")
COMMANDS = """
    pretrain fit -c recipe --run runs/recipe --data.recordings [{recordings}]
        --data.batch_size 8 --data.held_out 16 --trainer.max_steps 4
    pretrain fit -c recipe --run runs/again/seed-1 --data.recordings [{recordings}]
        --data.batch_size 8 --data.held_out 16 --trainer.max_steps 4 --seed_everything 1
    agents fit -c dqn_last_block --run runs/dqn --model.encoder.encoder runs/recipe
        --model.init_args.features.norm_samples 64 --model.init_args.learning_starts 200
        --data.game breakout --data.total_steps 400
    agents evaluate --run runs/dqn --episodes 1 --video --max-frames 400 --seconds 1
    probes run --encoder before=runs/recipe --encoder after=runs/dqn --run runs/probes
        --recordings {recordings}/breakout --samples 600 {probes}
    analysis report runs --out page --recordings {recordings}/breakout
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> Path:
    folder = tmp_path_factory.mktemp("real")
    probes = " ".join(f"--probe {name}" for name in PROBES)
    lines = COMMANDS.format(recordings=recordings, probes=probes).replace("\n        ", " ")
    run_commands(folder, [["fovea", *line.split()] for line in lines.strip().splitlines()])
    return folder / "page" / "index.html"


@pytest.fixture(params=[1440, 390])
def page(request: pytest.FixtureRequest, browser: Chrome, out: Path) -> Chrome:
    resize(browser, request.param)
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what the browser did before is not the page's
    browser.get(out.as_uri())
    return browser


def test_every_view_of_real_runs_is_drawn_without_an_error(page: Chrome, out: Path) -> None:
    groups = page.find_elements(By.CSS_SELECTOR, ".charts")
    assert len(groups) >= len(PROBES)
    for group in groups:
        drawn(page, group)
        for chart in group.find_elements(By.CLASS_NAME, "chart"):
            marks = "path, .point, .annotation-text, image"
            assert chart.find_elements(By.CSS_SELECTOR, marks), chart.get_attribute("aria-label")
    assert page.find_elements(By.TAG_NAME, "video")
    assert page.find_elements(By.CLASS_NAME, "recording")
    assert page.get_log("browser") == []
    asked = asked_for(page)
    inside = out.parent.as_uri() + "/"
    assert [url for url in asked if not url.startswith((inside, "data:", "blob:"))] == []


def test_the_page_is_no_wider_than_its_screen(page: Chrome) -> None:
    wide = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    width, room = page.execute_script(wide)
    assert width <= room


def test_a_slider_goes_through_play_and_a_search_and_a_head_choose_and_sort(page: Chrome) -> None:
    film = page.find_element(By.CSS_SELECTOR, "#probe-attention .attention")
    middle(page, film)
    said = film.find_element(By.TAG_NAME, "output")
    before = said.text
    film.find_element(By.CSS_SELECTOR, ".screen").send_keys(Keys.ARROW_RIGHT)
    wait(lambda: said.text != before, page)
    assert said.text.startswith("Breakout, screen 2 of ")

    page.find_element(By.CSS_SELECTOR, "#runs .search").send_keys("again")
    shown = """return [...document.querySelectorAll("#runs tr[data-run]")]
        .filter((row) => !row.hidden).length"""
    wait(lambda: page.execute_script(shown) == 1, page)

    head = page.find_element(By.CSS_SELECTOR, "#probe-state .tabled th button")
    sorts = "return arguments[0].closest('th').ariaSort"
    for order in ("ascending", "descending"):
        page.execute_script("arguments[0].click()", head)
        wait(lambda order=order: page.execute_script(sorts, head) == order, page)


def test_where_an_agent_looks_is_shown_before_and_after_for_an_action_of_ones_choice(
    page: Chrome,
) -> None:
    view = page.find_element(By.CSS_SELECTOR, "#probe-attribution .attention")
    middle(page, view)
    assert {"before", "after"} <= set(text_of(view.find_elements(By.CSS_SELECTOR, "figcaption")))
    chosen = Select(view.find_element(By.CSS_SELECTOR, ".map"))
    maps = [one.text for one in chosen.options]
    actions = [f"relevance of {name}" for name in ("NOOP", "FIRE", "RIGHT", "LEFT")]
    assert [one for one in maps if one.startswith("relevance of ")] == actions
    said = """return [...arguments[0].querySelectorAll('.picture')].map((one) => one.ariaLabel)
        .join()"""
    for action in actions[:2]:
        chosen.select_by_visible_text(action)
        wait(lambda action=action: action in page.execute_script(said, view), page)
