"""What a reader can do with the page: search, group, compare, smooth, hide, read and carry away."""

import csv
import io

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

import report_samples as samples
from fovea.analysis import report
from in_browser import drawn, middle, text_of, wait

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory, browser):
    """Six runs, of which one still learns; the first figures are drawn."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("vicreg", "tov_vicreg"):
        samples.pretraining(folder / name, name)
    samples.run(folder / "probes", "probes")
    samples.state(folder / "probes")
    samples.embedding(folder / "probes")
    for seed, name in enumerate(("dqn", "ppo", "going"), start=1):
        state = "running" if name == "going" else "done"
        samples.agent(folder / name, name, seed=seed, state=state)
    size = {"width": 1200, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(report([folder], folder / "report")[0].as_uri())
    for part in ("pretraining", "probe-state", "probe-map"):
        drawn(browser, browser.find_element(By.CSS_SELECTOR, f"#{part} .charts"))
    return browser


def test_a_search_chooses_rows_and_lines_and_a_filter_both_once_more(page):
    section = page.find_element(By.ID, "runs")
    assert (
        section.find_element(By.CSS_SELECTOR, ".finder output").get_attribute("value") == "6 runs"
    )
    drawn(page, page.find_element(By.CSS_SELECTOR, "#pretraining .charts"))
    loss = "return document.querySelector('#pretraining .chart').data.map((t) => t.name).join()"
    before = page.execute_script(loss)
    find(page, "tov_vicreg seed=0")
    wait(lambda: page.execute_script(loss) != before, page)
    assert page.execute_script(loss) == "tov_vicreg"
    assert shown_rows(page) == ["tov_vicreg"]
    find(page, "")
    wait(lambda: len(shown_rows(page)) == 6, page)
    kind = Select(section.find_element(By.CSS_SELECTOR, "[data-filter=kind]"))
    kind.select_by_value("agent")
    assert len(shown_rows(page)) == 3
    group = Select(section.find_element(By.CSS_SELECTOR, "[data-filter=group]"))
    group.select_by_value("state")
    groups = text_of(section.find_elements(By.CSS_SELECTOR, ".groups tbody tr"))
    assert groups == ["done22000", "running10100"]
    kind.select_by_value("")
    group.select_by_value("")


def find(page, words):
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    page.execute_script(script, page.find_element(By.CSS_SELECTOR, "#runs .search"), words)


def shown_rows(page):
    script = """return [...document.querySelectorAll("#runs tr[data-run]")]
        .filter((row) => !row.hidden).map((row) => row.cells[0].textContent)"""
    return page.execute_script(script)


def test_a_run_shows_its_command_and_two_runs_what_sets_them_apart(page):
    section = page.find_element(By.ID, "runs")
    names = [o.text for o in Select(section.find_element(By.CSS_SELECTOR, ".one")).options]
    Select(section.find_element(By.CSS_SELECTOR, ".one")).select_by_visible_text("dqn")
    facts = section.find_element(By.CSS_SELECTOR, ".facts").get_attribute("textContent")
    assert "DQN in Pong" in facts
    assert 'model: "dqn"' in facts
    Select(section.find_element(By.CSS_SELECTOR, ".first")).select_by_visible_text("dqn")
    Select(section.find_element(By.CSS_SELECTOR, ".second")).select_by_visible_text("ppo")
    rows = text_of(section.find_elements(By.CSS_SELECTOR, ".differences tbody tr"))
    assert rows == ['model"dqn""ppo"', "Seed12"]
    assert len(names) == 6


def test_curves_can_be_smoothed_and_drawn_over_samples_and_seconds(page):
    group = drawn(page, page.find_element(By.CSS_SELECTOR, "#pretraining .charts"))
    data = "return arguments[0].querySelector('.chart').data[0]"
    before = page.execute_script(data, group)
    Select(group.find_element(By.CSS_SELECTOR, ".axis")).select_by_value("samples")
    after = page.execute_script(data, group)
    assert after["x"] == [64 * x for x in before["x"]]
    Select(group.find_element(By.CSS_SELECTOR, ".axis")).select_by_value("seconds")
    seconds = page.execute_script(data, group)["x"]
    # 64 samples a step at some 410 samples a second
    assert seconds[-1] / before["x"][-1] == pytest.approx(64 / 410, rel=0.05)
    slide(page, group.find_element(By.CSS_SELECTOR, ".smoothing"), 0.9)
    smooth = page.execute_script(data, group)["y"]
    mean, weight = 0.0, 0.0
    for value, shown in zip(before["y"], smooth, strict=True):
        mean, weight = 0.9 * mean + 0.1 * value, 0.9 * weight + 0.1
        assert shown == pytest.approx(mean / weight)
    slide(page, group.find_element(By.CSS_SELECTOR, ".smoothing"), 0)
    Select(group.find_element(By.CSS_SELECTOR, ".axis")).select_by_index(0)
    assert page.execute_script(data, group)["y"] == before["y"]


def slide(page, slider, value):
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    page.execute_script(script, slider, value)


def test_a_name_of_the_legend_hides_and_shows_by_keyboard(page):
    group = drawn(page, page.find_element(By.CSS_SELECTOR, "#probe-state .charts"))
    names = "return arguments[0].querySelector('.chart').data.map((t) => t.name)"
    key = group.find_element(By.CSS_SELECTOR, ".key")
    middle(page, key)
    before = page.execute_script(names, group)
    key.send_keys(Keys.ENTER)
    assert key.get_attribute("aria-pressed") == "false"
    gone = set(before) - set(page.execute_script(names, group))
    assert gone == {key.text}
    key.send_keys(Keys.SPACE)
    assert page.execute_script(names, group) == before


def test_what_a_figure_draws_is_there_as_text_and_as_a_file(page):
    group = drawn(page, page.find_element(By.CSS_SELECTOR, "#pretraining .charts"))
    page.execute_script("arguments[0].querySelector('.data details').open = true", group)
    cells = wait(lambda: group.find_elements(By.CSS_SELECTOR, ".text tbody tr"), page)
    assert cells[0].get_attribute("textContent").startswith("loss")
    made = page.execute_script("return csv([COLUMNS, ...rowsOf(arguments[0])])", group)
    rows = list(csv.DictReader(io.StringIO(made)))
    shown = page.execute_script("return arguments[0].querySelector('.chart').data[0]", group)
    own = [r for r in rows if (r["figure"], r["name"]) == ("loss", shown["name"])]
    assert [float(row["y"]) for row in own] == shown["y"]


def test_a_map_is_coloured_by_what_is_chosen_and_shows_the_screen_that_is_pointed_at(page):
    root = page.find_element(By.CSS_SELECTOR, ".map-of-features")
    group = drawn(page, root.find_element(By.CLASS_NAME, "charts"))
    colours = "return arguments[0].querySelector('.chart').data[0].marker.color"
    label = Select(root.find_element(By.CSS_SELECTOR, ".label"))
    assert label.options[0].text == "time in the episode"
    assert page.execute_script(colours, group)[:3] == [0, 1, 2]
    time = page.execute_script(colours, group)
    label.select_by_value("reward")
    assert page.execute_script(colours, group) == [float(k % 7 == 3) for k in range(len(time))]
    label.select_by_value("ball x")
    ram = page.execute_script(colours, group)
    assert len(set(ram)) > 10
    picture = root.find_element(By.CLASS_NAME, "picture")
    before = picture.get_attribute("aria-label")
    assert f"ball x {ram[0]}" in before
    point = group.find_elements(By.CSS_SELECTOR, ".chart .point")[17]
    middle(page, point)

    def pointed_at() -> bool:
        # Again where it came while plotly was still drawing, which then takes no notice of it.
        ActionChains(page).move_to_element(picture).move_to_element(point).perform()
        return picture.get_attribute("aria-label") != before

    wait(pointed_at, page)
    shown = int(root.find_element(By.CLASS_NAME, "screen").get_attribute("value"))
    assert f"ball x {ram[shown]}" in picture.get_attribute("aria-label")
    rings = """return [...arguments[0].querySelectorAll('.chart')].map(
        (chart) => chart.data[0].x.indexOf(chart.data[1].x[0]))"""
    assert page.execute_script(rings, group) == [shown] * 5  # of which two are by UMAP
    game = Select(group.find_element(By.CSS_SELECTOR, ".choice"))
    game.select_by_visible_text("Freeway")
    assert "ball x" not in [option.text for option in label.options]
    game.select_by_visible_text("all games")
    assert label.first_selected_option.text == "game"
    assert set(page.execute_script(colours, group)) == {0, 1, 2}
    bar = "return arguments[0].querySelector('.chart').data[0].marker.colorbar.ticktext"
    assert page.execute_script(bar, group) == ["Pong", "Breakout", "Freeway"]
    assert "of 90: game " in root.find_element(By.TAG_NAME, "output").text
