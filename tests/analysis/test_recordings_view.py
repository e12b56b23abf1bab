"""The browser of recordings: what is found, what of it is shown, and what is said of the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import report_samples as samples
from fovea.analysis import report
from fovea.analysis.recordings import SCREENS
from fovea.atari.frames import Frames
from fovea.command import UserError
from in_browser import drawn, wait


def data_of(out: Path) -> dict:
    script = (out / "assets" / "data.js").read_text()
    return json.loads(script.removeprefix("window.fovea = ").removesuffix(";\n"))


@pytest.fixture(scope="module")
def shown(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    samples.run(folder / "runs" / "r", "pretrain", [(1, {"loss": 1.0}), (2, {"loss": 0.5})])
    return report([folder / "runs"], folder / "out", recordings=[recordings])[0].parent


def test_an_episode_is_shown_as_it_was_recorded(shown: Path, recordings: Path) -> None:
    players = data_of(shown)["pictures"]["recordings"]
    frames = Frames.load([recordings])
    game = next(iter(players)).split(":")[0].lower()
    own = frames.of(game)
    first = own.episode == own.episode[0]
    player = next(iter(players.values()))
    assert (player["steps"][0], player["steps"][-1]) == (0, int(first.sum()) - 1)
    assert len(player["steps"]) == min(int(first.sum()), SCREENS)
    sheet = cv2.imread(str(shown / player["sheet"]), cv2.IMREAD_GRAYSCALE)
    for k in (0, len(player["steps"]) - 1):
        row, column = divmod(k, player["columns"])
        tile = sheet[84 * row : 84 * (row + 1), 84 * column : 84 * (column + 1)]
        np.testing.assert_array_equal(tile, own.screens[first][player["steps"][k]])
    memory, returns = next(iter(data_of(shown)["charts"]["recordings"].values()))
    assert returns["data"][0]["y"][-1] == float(own.labels["reward"][first].sum())
    assert memory["data"]


def test_all_episodes_are_a_table(shown: Path, recordings: Path) -> None:
    rows = (shown / "data" / "episodes.csv").read_text().splitlines()
    assert len(rows) == 1 + len(Frames.load([recordings]).episode.unique())


@pytest.mark.slow
def test_recordings_that_a_run_learned_from_are_found_by_their_hash_alone(
    recordings: Path, tmp_path: Path
) -> None:
    lists = sorted(recordings.glob("*/_dataset.json"))
    hashes = {path.parent.name: json.loads(path.read_text())["sha256"] for path in lists}
    run = samples.run(tmp_path / "runs" / "r", "pretrain", data=hashes)
    (run / "config.yaml").write_text(f"data:\n  recordings:\n  - {recordings}\n")
    _, data = samples.page(tmp_path / "runs", tmp_path / "out")
    assert len(data["charts"]["recordings"]) > len(hashes)
    samples.run(run, "pretrain", data=dict.fromkeys(hashes, "0" * 64))
    (run / "config.yaml").write_text(f"data:\n  recordings:\n  - {recordings}\n")
    text, data = samples.page(tmp_path / "runs", tmp_path / "out")
    assert "recordings" not in data["charts"]
    assert "Named by runs and not here, or changed since" in text.text


def test_a_damaged_recording_is_named_and_the_others_are_shown(
    recordings: Path, tmp_path: Path
) -> None:
    shutil.copytree(recordings, tmp_path / "copy")
    broken = sorted((tmp_path / "copy").glob("*/shard-00000.parquet"))[0]
    broken.write_bytes(broken.read_bytes()[:1000])
    samples.run(tmp_path / "runs" / "r", "pretrain")
    out = report([tmp_path / "runs"], tmp_path / "out", recordings=[tmp_path / "copy"])[0].parent
    assert f"{broken.parent} cannot be read" in samples.Text((out / "index.html").read_text()).text
    assert data_of(out)["pictures"].get("recordings") or len(list(recordings.iterdir())) < 3


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    samples.run(tmp_path / "runs" / "r", "pretrain")
    with pytest.raises(UserError, match="holds no finished recording: give what"):
        report([tmp_path / "runs"], tmp_path / "out", recordings=[tmp_path / "runs"])


@pytest.mark.evidence
@pytest.mark.browser
def test_the_slider_and_the_episode_change_the_screen_and_the_cursor(shown: Path, browser) -> None:
    browser.get((shown / "index.html").as_uri())
    root = browser.find_element(By.CSS_SELECTOR, ".recording")
    group, picture = (root.find_element(By.CSS_SELECTOR, of) for of in (".charts", ".picture"))
    drawn(browser, group)
    cursor = "return arguments[0].querySelector('.chart').layout.shapes[0].x0"
    place = "return arguments[0].style.backgroundPosition + arguments[0].style.backgroundImage"
    before = browser.execute_script(place, picture)
    assert browser.execute_script(cursor, group) == 0
    slide = "arguments[0].value = 7; arguments[0].dispatchEvent(new Event('input'))"
    browser.execute_script(slide, root.find_element(By.CSS_SELECTOR, ".screen"))
    assert browser.execute_script(place, picture) != before
    assert browser.execute_script(cursor, group) == 7
    assert root.find_element(By.TAG_NAME, "output").text.startswith("step 7, ")
    choice = Select(group.find_element(By.CSS_SELECTOR, ".choice"))
    choice.select_by_index(len(choice.options) - 1)
    wait(lambda: browser.execute_script(cursor, group) == 0, browser)
    play = root.find_element(By.CSS_SELECTOR, ".play")
    browser.execute_script("arguments[0].click()", play)
    wait(lambda: browser.execute_script(cursor, group) > 1, browser)
    browser.execute_script("arguments[0].click()", play)
    assert play.text == "Play"
