"""What the page of a report says of probes."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

import report_samples as samples
from fovea.analysis import attention, report
from fovea.as_written import checked, with_check
from fovea.figures import Comparison, Verdict
from fovea.probes import state
from fovea.results import Measured
from fovea.tables import Table

BEFORE_0_2 = Path(__file__).parents[1] / "before_0_2"
LUCK = [["pong", 0.25], ["freeway", None]]


@pytest.mark.slow
def test_the_verdict_holds_the_encoders_against_random_and_raw_pixels(tmp_path):
    samples.run(tmp_path / "p", "probes")
    samples.state(tmp_path / "p", {"good": 0.7, "bad": 0.1, "random": 0.35, "pixels": 0.9})
    text, _ = samples.page(tmp_path, tmp_path / "out")
    verdict = text.text[text.text.index("R² of a linear read-out") :]
    assert "An untrained encoder of the same shape: 0.3" in verdict
    assert "(above it: good)" in verdict
    assert "(above it: none)" in verdict


def test_the_verdict_is_the_mean_over_games_of_the_rows_that_say_mean(tmp_path):
    samples.run(tmp_path / "p", "probes")
    columns = ["game", "category", "variables", "r2", "f1"]
    rows = [["pong", "misc", 1, 0.9, 0.9], ["pong", "mean", 1, 0.2, 0.1]]
    rows += [["freeway", "misc", 1, 0.9, 0.9], ["freeway", "mean", 1, 0.4, 0.1]]
    found = Measured([Table("categories", "By category", columns, rows)])
    samples.write_probe(tmp_path / "p", "state", state, {"mine": found})
    text, _ = samples.page(tmp_path, tmp_path / "out")
    assert "mean of 2 games, one training run each: mine 0.30." in text.text


def test_a_verdict_on_small_numbers_keeps_the_digits_that_count(tmp_path):
    samples.run(tmp_path / "p", "probes")
    verdict = Verdict(table="guesses", measure="luck", sentence="luck")
    fortune = samples.unknown("Fortune", "How lucky it is.", VERDICT=verdict)
    found = {
        name: Measured([Table("guesses", "Guesses", ["game", "luck"], [["pong", value]])])
        for name, value in {"mine": 0.00432, "other": 0.5, "random": 0.0041}.items()
    }
    samples.write_probe(tmp_path / "p", "fortune", fortune, found)
    text, _ = samples.page(tmp_path, tmp_path / "out")
    assert "luck: mine 0.0043 and other 0.50." in text.text
    assert "same shape: 0.0041 (above it: mine and other)" in text.text


def test_a_probe_of_several_runs_has_means_over_them_and_an_interval_from_five_on(tmp_path):
    columns = ["game", "category", "variables", "r2", "f1"]
    for seed in range(5):
        samples.run(tmp_path / f"seed-{seed}" / "probes", "probes", seed=seed)
        rows = [[game, "mean", 1, 0.1 * seed + add, 0.5]
                for game, add in (("pong", 0.0), ("freeway", 0.2))]  # fmt: skip
        found = {"mine": Measured([Table("categories", "By category", columns, rows)])}
        samples.write_probe(tmp_path / f"seed-{seed}" / "probes", "state", state, found)
    report([tmp_path], tmp_path / "out")
    with open(tmp_path / "out" / "data" / "state-over-runs.csv") as file:
        (row,) = csv.DictReader(file)
    assert (row["runs"], row["games"]) == ("5", "2")
    assert float(row["mean"]) == pytest.approx(0.3)
    assert row["each run"] == "0.100, 0.200, 0.300, 0.400, 0.500"
    assert float(row["95 % low"]) < 0.3 < float(row["95 % high"])
    report([tmp_path / "seed-0", tmp_path / "seed-1"], tmp_path / "two")
    with open(tmp_path / "two" / "data" / "state-over-runs.csv") as file:
        (row,) = csv.DictReader(file)
    assert (row["95 % low"], row["each run"]) == ("", "0.100, 0.200")


def test_a_probe_that_declares_no_figure_is_shown_by_its_tables(tmp_path):
    samples.run(tmp_path / "p", "probes")
    found = Measured([Table("guesses", "Guesses", ["game", "luck"], LUCK, "More is luckier.")])
    fortune = samples.unknown("Fortune", "How lucky it is.")
    samples.write_probe(tmp_path / "p", "fortune", fortune, {"mine": found})
    text, _ = samples.page(tmp_path, tmp_path / "out")
    assert ["mine", "pong", "0.250"] in [row[:3] for row in text.rows]
    assert ["mine", "freeway", "–"] in [row[:3] for row in text.rows]
    for shown in ("Fortune", "How lucky it is.", "More is luckier.", "Guesses (2 rows)"):
        assert shown in text.text


CURVES = [
    ("With few labels", "labels", ["100", "300", "all"], "Attentive read-out, R²"),
    ("By block, 300 labels", "block", [0, 1, 2, 3, 4], "All tokens, R²"),
    ("By block, all labels", "block", [0, 1, 2, 3, 4], "All tokens, R²"),
    ("Patch tokens", "block", [0, 1, 2, 3], "Hoyer, 0 dense to 1 sparse"),
    ("CLS token", "block", [0, 1, 2, 3], "Hoyer, 0 dense to 1 sparse"),
    ("By block, summary", "block", [0, 1, 2, 3, 4], "RankMe, effective rank"),
    ("By block, mean token", "block", [0, 1, 2, 3, 4], "RankMe, effective rank"),
]
"""Of state, sparsity and collapse: heading, what is along the axis, its places, and a figure."""


@pytest.mark.slow
def test_what_depends_on_labels_and_blocks_is_drawn_as_curves(tmp_path):
    folder = samples.run(tmp_path / "p", "probes")
    for write in (samples.state, samples.sparsity, samples.collapse):
        write(folder)
    text, data = samples.page(tmp_path, tmp_path / "out")
    charts, name = {}, ""
    for _, given in text.tags:
        name = given.get("data-chart", name)
        if given.get("class") == "chart":
            charts[given["aria-label"].split(", figure ")[0]] = data["charts"][name]
    for heading, along, places, title in CURVES:
        assert heading in text.text
        panels = {panel["layout"]["title"]["text"]: panel for panel in charts[heading]["Pong"]}
        assert panels[title]["layout"]["xaxis"]["title"]["text"] == along
        lines = {trace["name"]: trace for trace in panels[title]["data"]}
        for encoder in ("tov_vicreg", "vicreg"):
            assert lines[encoder]["x"] == places
            assert all(map(math.isfinite, lines[encoder]["y"]))


@pytest.mark.slow
def test_a_probe_brings_its_own_figure_verdict_and_place(tmp_path):
    samples.probes(tmp_path / "p")
    fortune = samples.unknown(
        "Fortune", "How lucky it is.", ORDER=2,
        FIGURES=[Comparison(table="guesses", along="try", choice="game", kind="lines",
                            measures={"luck / tries": "Luck, a try"}, title="Luck by try")],
        VERDICT=Verdict(table="guesses", measure="luck", sentence="luck in {games}"),
    )  # fmt: skip
    columns = ["game", "try", "luck", "tries"]
    for encoder, luck in (("mine", 0.5), ("random", 0.25)):
        rows = [["pong", 1, luck, 2], ["pong", 2, None, 2], ["freeway", 1, luck, 4]]
        found = Measured([Table("guesses", "Guesses", columns, rows)])
        samples.write_probe(tmp_path / "p", "fortune", fortune, {encoder: found})
    text, data = samples.page(tmp_path, tmp_path / "out")
    (pong,) = data["charts"]["fortune-p"]["Pong"]
    assert pong["layout"]["title"]["text"] == "Luck, a try"
    lines = {trace["name"]: (trace["x"], trace["y"]) for trace in pong["data"]}
    assert lines == {"mine": ([1, 2], [0.25, None]), "random": ([1, 2], [0.125, None])}
    verdict = text.text[text.text.index("Fortune: luck in 2 games: mine 0.50.") :]
    assert "An untrained encoder of the same shape: 0.25 (above it: mine)." in verdict
    sections = [a["id"] for tag, a in text.tags if tag == "section" and "probe" in a["id"]]
    places = [sections.index(f"probe-{name}") for name in ("state", "fortune", "attention")]
    assert places == [0, 1, 2]


def test_a_figure_of_a_newer_version_is_left_to_the_tables(tmp_path):
    samples.run(tmp_path / "p", "probes")
    fortune = samples.unknown("Fortune", "How lucky it is.")
    found = Measured([Table("guesses", "Guesses", ["game", "luck"], LUCK)])
    samples.write_probe(tmp_path / "p", "fortune", fortune, {"mine": found})
    path = tmp_path / "p" / "probes" / "fortune.json"
    newer = json.loads(path.read_text()) | {"figures": [{"kind": "hologram", "depth": 3}], "new": 1}
    path.write_text(json.dumps(with_check(checked(newer)[0])))
    text, data = samples.page(tmp_path, tmp_path / "out")
    assert "Guesses (2 rows)" in text.text
    assert data["charts"] == {}


def test_folders_of_version_0_1_are_shown_with_their_figures(tmp_path):
    text, data = samples.page(BEFORE_0_2, tmp_path / "out")
    assert "damaged" not in text.text
    assert {"state-probes", "attention-probes-2"} <= set(data["charts"])
    assert list(data["pictures"]["attention-probes"]["encoders"]) == ["tov", "random"]
    assert "R² of a linear read-out of the game's memory on held-out episodes" in text.text
    assert "mean return of the evaluation in Pong: dqn −2 and ppo_lora −2." in text.text


def test_a_known_probe_with_other_columns_is_shown_by_its_tables(tmp_path):
    samples.run(tmp_path / "p", "probes")
    found = Measured([Table("categories", "Renamed", ["level", "score"], [["pong", 0.5]])])
    samples.write_probe(tmp_path / "p", "state", state, {"mine": found})
    text, data = samples.page(tmp_path, tmp_path / "out")
    assert "Renamed" in text.text
    assert data["charts"] == {}


def test_attention_is_scaled_to_the_strongest_patch_and_none_is_clear():
    maps = np.array([[[0.0, 0.1], [0.2, np.nan]]])
    drawn = attention.transparent(maps)
    assert drawn.shape == (1, 2, 2, 4)
    assert drawn[0, ..., 3].tolist() == [[0, 102], [204, 0]]


def test_a_figure_of_some_rows_has_bars_of_spread_and_words_along_the_axis(tmp_path):
    samples.run(tmp_path / "p", "probes")
    how = Comparison(
        table="guesses", along="tries", choice="game", kind="lines", where={"kind": "blind"},
        averaged=False,
        measures={"luck": "Luck, a try"}, spreads={"luck": "spread"}, low=-1.0, high=1.0,
    )  # fmt: skip
    fortune = samples.unknown("Fortune", "How lucky it is.", FIGURES=[how])
    columns = ["game", "kind", "tries", "luck", "spread"]
    rows = [
        ["pong", "blind", "100", 0.1, 0.02],
        ["pong", "seeing", "100", 0.9, 0.5],
        ["pong", "blind", "all", 0.3, None],
        ["freeway", "blind", "all", 0.7, None],
    ]
    found = {"mine": Measured([Table("guesses", "Guesses", columns, rows)])}
    samples.write_probe(tmp_path / "p", "fortune", fortune, found)
    text, data = samples.page(tmp_path, tmp_path / "out")
    charts = data["charts"]["fortune-p"]
    assert list(charts) == ["Pong", "Freeway"]  # and no mean over games
    (figure,) = charts["Pong"]
    (line,) = figure["data"]
    assert (line["x"], line["y"]) == (["100", "all"], [0.1, 0.3])
    assert line["error_y"]["array"] == [0.02, None]
    assert figure["layout"]["xaxis"]["type"] == "category"
    assert figure["layout"]["yaxis"]["range"] == [-1.0, 1.0]
    assert "Guesses (4 rows)" in text.text  # what the figure leaves out is shown as well
