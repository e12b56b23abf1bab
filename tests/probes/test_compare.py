"""Stored results side by side: means, intervals, differences, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import report_samples
from fovea import by_episode
from fovea.command import UserError
from fovea.probes import compare
from fovea.probes import state as state_probe
from fovea.probes.__main__ import run as run_command
from fovea.results import Measured, read_result
from fovea.tables import Table

EPISODE = np.repeat(np.arange(10), 8)


def results(folder: Path, noises: dict[str, float], seed: int = 0, games=("pong",)) -> Path:
    """A folder of a probe `state` whose predictions of three variables are off by some noise."""
    columns = ["game", "variable", "category", "read_out", "r2"]
    variables = [("player_y", "agent"), ("ball_x", "small"), ("ball_y", "small")]
    encoders = {}
    for encoder, noise in noises.items():
        rows, parts = [], []
        for game in games:
            rng = np.random.default_rng([seed, len(game)])
            truth = rng.normal(size=(80, 3))
            off = rng.normal(size=(80, 3)) * [0, noise, noise]
            of_it = by_episode.errors(EPISODE, truth, truth + off)
            scores = by_episode.r2(of_it, np.ones((1, 10)))[0]
            rows += [[game, *v, "cls", float(r2)] for v, r2 in zip(variables, scores, strict=True)]
            parts.append(of_it)
        table = Table("variables_by_read_out", "Each", columns, rows)
        arrays = {"variables_by_read_out/errors": by_episode.stacked(parts)}
        encoders[encoder] = Measured([table], arrays)
    report_samples.write_probe(folder, "state", state_probe, encoders)
    return folder


def test_a_score_is_the_mean_of_categories_and_a_difference_is_paired(tmp_path: Path) -> None:
    folder = results(tmp_path, {"mine": 0.3, "random": 0.6})
    table, notes = compare.compare([folder])
    mine, random = table.records()
    by_variable, _ = compare.compare([folder], by=["variable"])
    of_mine = {row["of"]: row["score"] for row in by_variable.records() if row["encoder"] == "mine"}
    y, *small = (of_mine[f"variable {v}, read_out cls"] for v in ("player_y", "ball_x", "ball_y"))
    assert y == 1
    assert mine["score"] == pytest.approx((y + sum(small) / 2) / 2)
    assert mine["low"] < mine["score"] < mine["high"]
    assert mine["minus random"] == pytest.approx(mine["score"] - random["score"])
    # Noise of both is the same but for its size, so that their difference varies less than each.
    assert 0 < mine["its low"] < mine["minus random"] < mine["its high"]
    assert mine["its high"] - mine["its low"] < random["high"] - random["low"]
    assert random["minus random"] is None
    assert notes == [
        "intervals are 95 % of a bootstrap over the test episodes, the same ones for all"
    ]


def test_several_folders_are_runs_and_five_are_drawn_again(tmp_path: Path) -> None:
    folders = [results(tmp_path / str(k), {"mine": 0.1 + 0.2 * k}, seed=k) for k in range(5)]
    alone = [compare.compare([folder])[0].records()[0] for folder in folders]
    few, notes = compare.compare(folders[:2])
    assert few.records()[0]["score"] == pytest.approx(np.mean([r["score"] for r in alone[:2]]))
    assert "2 runs are too few to be drawn from" in notes[0]
    (row,), (of_all, *_) = compare.compare(folders)[0].records(), compare.compare(folders)[1]
    assert row["score"] == pytest.approx(np.mean([r["score"] for r in alone]))
    assert "and over 5 runs" in of_all
    # Runs differ much more than episodes do.
    assert row["high"] - row["low"] > max(r["high"] - r["low"] for r in alone)


def test_the_command_prints_lines_and_names_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = str(results(tmp_path / "p", {"mine": 0.3, "random": 0.6}, games=("pong", "freeway")))
    run_command(["compare", folder, "mine", "--by", "game", "--csv", str(tmp_path / "t.csv")])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["probe", "measure", "of", "encoder", "score", "−", "random"]
    assert [line.split()[:3] for line in lines[:2]] == [
        ["state", "r2", "game"], ["state", "r2", "game"]
    ]  # fmt: skip
    assert (tmp_path / "t.csv").read_text().startswith("probe,table,measure,of,encoder,score")
    for arguments, message in [
        ([folder, "nobody"], "no encoder 'nobody' in these results: known are mine, random"),
        ([folder, "--probe", "stat"], "no results of a probe 'stat': did you mean 'state'"),
        ([folder, "--measure", "f1"], "no measure 'f1' in these results: known are r2"),
        ([str(tmp_path)], "holds no results: give a folder of `fovea probes run`"),
        (["nowhere"], "nowhere is no folder"),
    ]:
        with pytest.raises(UserError, match=message):
            run_command(["compare", *arguments])
    other = results(tmp_path / "other", {"mine": 0.3})
    path = other / "probes" / "state.json"
    fewer = read_result(path)
    fewer.settings["samples"] = 20
    fewer.write(path)
    with pytest.raises(UserError, match=r"other recordings or with other\s+settings"):
        run_command(["compare", folder, str(other)])
