"""The section on sequences of games: its numbers, figures and what it says of unfinished runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import plotly.graph_objects
import pytest

import report_samples as samples
from fovea.schema import ContinualMethod, ContinualRecord

GAMES = ["pong", "breakout"]
FINAL = {"alone": [1.0, 1.0], "l2m": [0.8, 0.6], "fine_tuned": [0.1, 0.9]}


def method(final: list[float], own: list[float], task_aware: str = "none") -> ContinualMethod:
    """What run.json holds of a method; `own` are the scores at the end of each game's training."""
    return ContinualMethod(
        task_aware=task_aware,
        returns=[[10 * own[0], None], [10 * final[0], 10 * final[1]]],
        scores=[[own[0], None], final],
        average_performance=float(np.mean(final)),
        forgetting=(own[0] - final[0]) / 2,
        forward_transfer=None if task_aware == "agent" else 0.25,
        areas=[0.4, 0.5],
    )


def sequence(folder: Path, shift: float = 0.0, **fields: object) -> Path:
    """A run folder of three methods in two games."""
    record = ContinualRecord(
        games=GAMES,
        steps=1000,
        episodes=10,
        reference="alone",
        low=[-20.7, 1.7],
        high=[10.0, 12.0],
        methods={
            name: method([score - shift for score in final], [0.9, final[1]],
                         "agent" if name == "alone" else "none")
            for name, final in FINAL.items()
        },
    )  # fmt: skip
    logged = [
        (step, {f"{name}/return": float(step)}) for name in FINAL for step in range(100, 2001, 100)
    ]
    return samples.run(folder, "continual", logged, continual=record, **fields)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict, Path]:
    folder = tmp_path_factory.mktemp("shown")
    sequence(folder / "runs" / "games")
    text, data = samples.page(folder / "runs", folder / "out")
    return text.text, data, folder / "out"


def test_the_table_holds_the_three_numbers_of_each_method(shown: tuple) -> None:
    text, _, out = shown
    found = {row["method"]: row for row in rows(out / "data" / "continual-games.csv")}
    assert list(found) == list(FINAL)
    assert float(found["l2m"]["average performance"]) == pytest.approx(0.7)
    assert float(found["fine_tuned"]["forgetting"]) == pytest.approx(0.4)
    assert found["alone"]["forward transfer"] == ""
    assert found["alone"]["task-aware"] == "the whole agent"
    assert float(found["l2m"]["Breakout"]) == 0.6
    assert "1 run: 1 continual play" in text
    assert "Pong and Breakout, in this order, 1,000 steps each" in text
    assert "average performance of games after 2 games: alone 1, l2m 0.700 and" in text


def test_the_figures_show_scores_by_game_and_method(shown: tuple) -> None:
    _, data, _ = shown
    along = data["charts"]["continual-games-along"][""]
    titles = [figure["layout"]["title"]["text"] for figure in along]
    assert titles == ["Pong, score", "Breakout, score"]
    lines = {trace["name"]: trace for trace in along[1]["data"]}
    assert lines["l2m"]["y"] == [None, 0.6]
    assert lines["l2m"]["x"] == [1000, 2000]
    (shade,) = along[1]["layout"]["shapes"]
    assert (shade["x0"], shade["x1"]) == (1000, 2000)
    tables = data["charts"]["continual-games-table"]
    assert list(tables) == list(FINAL)
    assert tables["fine_tuned"][0]["data"][0]["z"] == [[0.9, None], [0.1, 0.9]]
    curves = data["charts"]["continual-games-curves"][""]
    assert curves[1]["data"][0]["x"] == list(range(100, 1001, 100))
    assert curves[1]["data"][0]["y"][0] == 1100
    for choices in data["charts"].values():
        for figure in (figure for figures in choices.values() for figure in figures):
            plotly.graph_objects.Figure(figure)


def test_a_game_without_a_finished_episode_has_no_empty_figure_but_a_sentence(
    tmp_path: Path,
) -> None:
    place = sequence(tmp_path / "runs" / "games")
    head, *lines = (place / "metrics.csv").read_text().splitlines()
    metrics = [head, *(line for line in lines if int(line.split(",")[0]) <= 1000)]
    (place / "metrics.csv").write_text("\n".join(metrics) + "\n")
    text, data = samples.page(tmp_path / "runs", tmp_path / "out")
    (figure,) = data["charts"]["continual-games-curves"][""]
    assert figure["layout"]["title"]["text"] == "Pong, mean return of 20 episodes"
    assert "No episode of Breakout has ended in training." in text.text
    (place / "metrics.csv").write_text(metrics[0] + "\n")
    text, data = samples.page(tmp_path / "runs", tmp_path / "out")
    assert "continual-games-curves" not in data["charts"]
    assert "No episode of Pong and Breakout has ended in training." in text.text


def test_runs_of_one_sequence_are_put_together_with_intervals(tmp_path: Path) -> None:
    for seed, shift in enumerate([0.0, 0.02, 0.04]):
        sequence(tmp_path / "runs" / f"seed-{seed}", shift)
    text, _ = samples.page(tmp_path / "runs", tmp_path / "out")
    assert "3 runs of the same sequence" in text.text
    (path,) = (tmp_path / "out" / "data").glob("*-together.csv")
    found = {row["method"]: row for row in rows(path)}
    l2m = found["l2m"]
    # Of six scores the interquartile mean leaves out one at either end.
    assert float(l2m["score"]) == pytest.approx(np.mean([0.58, 0.6, 0.76, 0.78]))
    assert float(l2m["forgetting"]) == pytest.approx((0.1 + 0.02) / 2)
    low, high = (float(l2m[f"score, 95 % {end}"]) for end in ("low", "high"))
    assert 0.6 < low < float(l2m["score"]) < high < 0.75
    assert found["alone"]["forward transfer"] == ""


def test_a_record_of_version_0_1_is_read(tmp_path: Path) -> None:
    place = sequence(tmp_path / "runs" / "games")
    record = json.loads((place / "run.json").read_text())
    for one in record["continual"]["methods"].values():
        one["per_game"] = {"none": "nothing"}.get(way := one.pop("task_aware"), way)
    (place / "run.json").write_text(json.dumps(record))
    samples.page(tmp_path / "runs", tmp_path / "out")
    found = {row["method"]: row for row in rows(tmp_path / "out" / "data" / "continual-games.csv")}
    assert [found[name]["task-aware"] for name in FINAL] == ["the whole agent", "no", "no"]


def test_a_sequence_that_has_just_begun_says_so(tmp_path: Path) -> None:
    samples.run(tmp_path / "runs" / "new", "continual", state="running", step=0, steps=900)
    text, data = samples.page(tmp_path / "runs", tmp_path / "out")
    assert "No game has been learned yet." in text.text
    assert "Still running: new (step 0 of 900)" in text.text
    assert data["charts"] == {}
