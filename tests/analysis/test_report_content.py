"""What the page of a report says of runs, probes and agents."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import plotly.graph_objects
import pytest

import report_samples as samples
from fovea.analysis import attention, curves, figures, html, report
from fovea.figures import Comparison, Verdict
from fovea.metrics import Curve
from fovea.probes import state
from fovea.results import Measured
from fovea.tables import Table

BEFORE_0_2 = Path(__file__).parents[1] / "before_0_2"


@pytest.mark.slow
def test_every_figure_is_one_that_plotly_takes(quickstart):
    _, data, _ = quickstart
    drawn = [f for choices in data["charts"].values() for fs in choices.values() for f in fs]
    assert len(drawn) > 30
    for figure in drawn:
        plotly.graph_objects.Figure(figure)


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


def test_a_short_run_of_an_agent_is_said_to_show_no_skill(quickstart, tmp_path):
    text, _, _ = quickstart
    assert "dqn (4,000 steps) and ppo (4,000 steps) learned for much less than" in text.text
    assert "this shows the way and no skill" in text.text
    samples.agent(tmp_path / "long", "long", seed=0, step=400_000, steps=400_000)
    text, _ = samples.page(tmp_path, tmp_path / "out")
    assert "no skill" not in text.text


def test_an_encoder_has_one_colour_on_every_figure_and_references_are_grey(quickstart):
    _, data, _ = quickstart
    colours = {}
    for choices in data["charts"].values():
        for trace in (t for fs in choices.values() for f in fs for t in f["data"]):
            looks = trace.get("marker") or trace.get("line") or trace
            if looks.get("colorscale"):
                continue  # of a map or a matrix, by what is known of its points or cells
            colours.setdefault(trace["name"], set()).add(looks["color"])
    assert all(len(found) == 1 for found in colours.values()), colours
    own = [found for name, found in colours.items() if name not in figures.REFERENCES]
    assert len(set().union(*own)) == len(own) == 4


def test_the_evaluation_table_gives_hns_and_an_interval_around_the_mean(quickstart):
    _, _, out = quickstart
    with open(out / "data" / "evaluation.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["dqn", "ppo"]
    for row in rows:
        assert float(row["95 % low"]) < float(row["mean return"]) < float(row["95 % high"])
        assert float(row["HNS"]) == pytest.approx((float(row["mean return"]) + 20.7) / 35.3)
        assert row["game"] == "Pong"


def test_an_evaluation_is_of_the_steps_it_was_made_after_and_whole_episodes_alone_have_hns(
    tmp_path,
):
    dqn = samples.agent(tmp_path / "dqn", "dqn", 0)
    record = json.loads((dqn / "run.json").read_text())
    record["step"] = 9000
    record["evaluation"]["max_frames"] = 600
    (dqn / "run.json").write_text(json.dumps(record))
    text, _ = samples.page(tmp_path, tmp_path / "out")
    with open(tmp_path / "out" / "data" / "evaluation.csv") as file:
        (row,) = csv.DictReader(file)
    assert (row["steps"], row["HNS"]) == ("4000", "")
    assert "dqn was evaluated after 4,000 of the 9,000 steps it has learned for and in" in text.text
    assert "episodes cut at 600 frames, which have no HNS" in text.text


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Two methods of three seeds each, in the folders of a study and of `--seeds`."""
    folder = tmp_path_factory.mktemp("seeds")
    for seed in range(3):
        samples.agent(folder / f"seed-{seed}" / "pong" / "dqn", "dqn", seed=seed)
        samples.agent(folder / "better" / f"seed-{seed}", "better", seed=seed, gain=8)
    return *samples.page(folder, folder / "out"), folder / "out"


def test_runs_that_differ_in_their_seed_have_one_colour_a_line_each_a_mean_and_a_band(seeds):
    _, data, _ = seeds
    ((figure,),) = data["charts"]["returns"].values()
    names = [trace["name"] for trace in figure["data"] if not trace.get("fill")]
    assert sorted(names) == sorted(
        f"{method}, {which}"
        for method in ("dqn", "better")
        for which in ("seed 0", "seed 1", "seed 2", "IQM of 3 seeds")
    )
    bands = {trace["name"]: trace for trace in figure["data"] if trace.get("fill")}
    assert set(bands) == {"dqn", "better"}
    for name, band in bands.items():
        (mean,) = (t for t in figure["data"] if t["name"] == f"{name}, IQM of 3 seeds")
        middle, half = np.array(mean["y"]), len(mean["y"])
        low, high = np.array(band["y"][:half]), np.array(band["y"][half:][::-1])
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert (low < high).any()
    colours = {t["name"].split(",")[0]: t["line"]["color"] for t in figure["data"]}
    assert len(set(colours.values())) == 2
    assert all(t["line"]["color"] == colours[t["name"].split(",")[0]] for t in figure["data"])
    assert "take-off" in [mark["text"] for mark in figure["layout"]["annotations"]]
    ((evaluations,),) = data["charts"]["evaluations"].values()
    shown = {t["name"]: len(t["x"]) for t in evaluations["data"] if t["marker"]["size"] == 7}
    assert shown == {"dqn": 3, "better": 3}


def test_each_line_says_of_which_runs_it_is_so_that_a_search_can_choose_it(seeds):
    _, data, _ = seeds
    ((figure,),) = data["charts"]["returns"].values()
    facts = data["runs"]["list"]
    for trace in figure["data"]:
        meta = trace["meta"]
        assert {facts[place]["method"] for place in meta["runs"]} == {meta["of"]}
        assert len(meta["runs"]) == (1 if meta["role"] == "seed" else 3)


def test_scores_over_seeds_have_aggregates_profiles_and_sample_efficiency(seeds):
    _, data, out = seeds
    profile, efficiency = data["charts"]["aggregates"][""]
    lines = {t["name"]: t for t in profile["data"] if not t.get("fill")}
    levels = np.array(lines["better"]["x"])
    with open(out / "data" / "evaluation.csv") as file:
        scores = [float(r["HNS"]) for r in csv.DictReader(file) if r["run"] == "better"]
    expected = [np.mean([score > level for score in scores]) for level in levels]
    assert lines["better"]["y"] == pytest.approx(expected, abs=1e-5)
    assert {t["name"] for t in efficiency["data"]} == {"dqn", "better"}
    with open(out / "data" / "aggregates.csv") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert float(rows["better"]["mean"]) == pytest.approx(np.mean(scores))
    assert float(rows["better"]["IQM"]) == pytest.approx(np.mean(scores))  # of 3 none is dropped
    assert rows["better"]["IQM, 95 % low"] == ""  # 3 seeds are too few for an interval


def test_one_seed_in_one_game_is_said_to_have_no_profile(tmp_path):
    samples.agent(tmp_path / "dqn", "dqn", seed=0)
    (tmp_path / "dqn" / "metrics.csv").write_text("step,name,value\n10,loss,1.0\n")
    text, data = samples.page(tmp_path, tmp_path / "out")
    assert "Every method here has one score in one game." in text.text
    assert "aggregates" not in data["charts"]


def test_the_learning_table_lists_every_seed_with_its_take_off_and_area(seeds):
    text, _, out = seeds
    with open(out / "data" / "learning.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["seed"]) for row in rows].count(("dqn", "0")) == 1
    assert len(rows) == 6
    for row in rows:
        assert (row["take-off"] == "nan") == (row["run"] == "dqn")
        assert float(row["area, HNS"]) == pytest.approx((float(row["area"]) + 20.7) / 35.3)
    with open(out / "data" / "improvement-pong.csv") as file:
        chances = {row["run"]: row for row in csv.DictReader(file)}
    assert chances["better"]["dqn"] == "1.00"  # three seeds are too few for an interval
    assert chances["dqn"]["better"] == "0.00"
    assert chances["dqn"]["dqn"] == ""
    assert "(seeds −" in text.text
    assert "better/seed-0" in text.text


def test_the_score_of_a_take_off_can_be_given(seeds):
    _, _, out = seeds
    report([out.parent / "better"], out.parent / "other", take_off=0.9)
    with open(out.parent / "other" / "data" / "learning.csv") as file:
        assert {row["take-off"] for row in csv.DictReader(file)} == {"nan"}


LUCK = [["pong", 0.25], ["freeway", None]]


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
    path.write_text(json.dumps(newer))
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


def test_a_run_that_still_trains_is_shown_as_far_as_it_got(tmp_path):
    logged = [(10, {"loss": 3.0}), (20, {"loss": 2.0})]
    samples.run(tmp_path / "r", "pretrain", logged, state="running", step=20, steps=900)
    with open(tmp_path / "r" / "metrics.csv", "a") as file:
        file.write("30,lo")
    text, data = samples.page(tmp_path, tmp_path / "out")
    assert "Still running: r (step 20 of 900)" in text.text
    assert data["charts"]["pretraining"][""][0]["data"][0]["y"] == [3.0, 2.0]


def test_a_number_that_was_measured_once_is_a_number_and_no_figure(tmp_path):
    logged = [(9, {"loss": 3.0}), (19, {"loss": 2.0, "held_out/loss": 2.5})]
    samples.run(tmp_path / "r", "pretrain", logged)
    text, data = samples.page(tmp_path, tmp_path / "out")
    titles = [panel["layout"]["title"]["text"] for panel in data["charts"]["pretraining"][""]]
    assert titles == ["loss"]
    assert ["r", "19", "2.50"] in [row[:3] for row in text.rows]


def test_a_run_can_be_made_again_in_one_command_and_differs_from_others_by_its_settings(tmp_path):
    for name, rate in (("a", "0.1"), ("b", "0.2"), ("c", "0.1")):
        samples.pretraining(tmp_path / name, name)
        record = json.loads((tmp_path / name / "run.json").read_text())
        record |= {
            "command": f"fovea pretrain fit -c vicreg --run 'my runs/{name}'",
            "commit": None,
        }
        record["commit"] = "abc123" if name == "a" else None
        (tmp_path / name / "run.json").write_text(json.dumps(record))
        (tmp_path / name / "config.yaml").write_text(f"model:\n  lr: {rate}\ntrainer: [1]\n")
    (tmp_path / "c" / "config.yaml").write_text("model: {")
    _, data = samples.page(tmp_path, tmp_path / "out")
    runs = data["runs"]
    again = {run["name"]: run["again"] for run in runs["list"]}
    assert again["a"] == (
        "git checkout abc123 && fovea pretrain fit -c vicreg --run 'my runs/a-again'"
    )
    assert again["b"] == "fovea pretrain fit -c vicreg --run 'my runs/b-again'"
    places = {run["name"]: place for place, run in enumerate(runs["list"])}

    def setting(key, name):
        k = runs["keys"].index(key)
        at = 0 if runs["of"][k] is None else runs["of"][k][places[name]]
        return None if at == -1 else runs["values"][k][at]

    assert [setting("model.lr", name) for name in "abc"] == ["0.1", "0.2", None]
    assert setting("config.yaml", "c") == "cannot be read"


@pytest.mark.parametrize("kept", ["abc123+", "abc123-dirty"])
def test_changes_beside_a_commit_are_said_and_no_part_of_its_name(tmp_path, kept):
    samples.pretraining(tmp_path / "r", "r")
    record = json.loads((tmp_path / "r" / "run.json").read_text())
    record |= {"commit": kept, "command": "fovea pretrain fit --run r"}
    (tmp_path / "r" / "run.json").write_text(json.dumps(record))
    _, data = samples.page(tmp_path, tmp_path / "out")
    [run] = data["runs"]["list"]
    assert run["again"] == "git checkout abc123 && fovea pretrain fit --run r-again"
    assert run["facts"]["Commit"] == "abc123, and changes that were not committed"


def test_seconds_are_summed_from_the_speed_that_was_logged(tmp_path):
    logged = [(100, {"steps_per_second": 10.0}), (300, {"steps_per_second": 20.0})]
    samples.run(tmp_path / "r", "agent", logged)
    samples.run(tmp_path / "s", "pretrain", [(1, {"loss": 1.0})], step=50, seconds=5.0)
    _, data = samples.page(tmp_path, tmp_path / "out")
    clocks = {run["name"]: run["clock"] for run in data["runs"]["list"]}
    assert clocks["r"] == [[0, 100, 300], [0, 10.0, 20.0]]
    assert clocks["s"] == [[0, 50], [0, 5.0]]


def test_a_run_that_has_just_begun_has_no_curves_yet(tmp_path):
    samples.run(tmp_path / "r", "agent", state="running", step=0)
    text, data = samples.page(tmp_path, tmp_path / "out")
    assert "No metrics were logged yet." in text.text
    assert "No agent has been evaluated yet." in text.text
    assert data["charts"] == {}


def test_an_agent_whose_episodes_all_go_on_is_said_to_have_no_returns_yet(tmp_path):
    samples.run(tmp_path / "r", "agent", [(100, {"loss": 1.0})], step=100)
    text, data = samples.page(tmp_path, tmp_path / "out")
    assert "No episode has ended while the agents learned." in text.text
    assert "returns" not in data["charts"]


def test_the_steps_of_curves_are_said_to_be_of_the_optimiser_or_of_the_game(quickstart):
    _, data, _ = quickstart
    titles = {
        name: {figure["layout"]["xaxis"]["title"]["text"] for figure in data["charts"][name][""]}
        for name in ("pretraining", "returns", "agents-learning")
    }
    assert titles.pop("pretraining") == {"optimiser steps"}
    assert set().union(*titles.values()) == {"environment steps"}


@pytest.mark.slow
def test_a_run_that_failed_is_named_with_its_reason_first(tmp_path):
    samples.quickstart(tmp_path)
    reason = "the features collapsed at step 120: std 0.001"
    samples.pretraining(tmp_path / "broken", "broken", state="failed", reason=reason, step=120)
    text, _ = samples.page(tmp_path, tmp_path / "out")
    short = text.text[text.text.index("In short", text.text.index("Report on")) :]
    assert f"broken failed at step 120: {reason}" in short
    assert short.index(reason) < short.index("R² of a linear read-out")


def test_a_curve_of_nothing_but_nan_says_so(tmp_path):
    logged = [(step, {"loss": float("nan")}) for step in range(5)]
    samples.run(tmp_path / "r", "pretrain", logged, state="failed", reason="loss is NaN")
    _, data = samples.page(tmp_path, tmp_path / "out")
    (figure,) = data["charts"]["pretraining"][""]
    assert figure["data"][0]["y"] == [None] * 5
    assert figure["layout"]["annotations"][0]["text"] == "no finite value was logged"


def test_attention_is_scaled_to_the_strongest_patch_and_none_is_clear():
    maps = np.array([[[0.0, 0.1], [0.2, np.nan]]])
    drawn = attention.transparent(maps)
    assert drawn.shape == (1, 2, 2, 4)
    assert drawn[0, ..., 3].tolist() == [[0, 102], [204, 0]]


def test_long_curves_keep_the_lowest_and_highest_of_each_part_and_both_ends():
    values = np.sin(np.arange(10_000) / 50)
    values[[1234, 7777]] = [9.0, -9.0]
    values[4000:6000] = np.nan
    curve = Curve(np.arange(10_000) * 3, values)
    steps, drawn = curves.extremes(curve, 100)
    assert len(steps) <= 102
    assert (np.diff(steps) > 0).all()
    assert {9.0, -9.0} <= set(drawn.tolist())
    assert steps[-1] == curve.steps[-1]
    assert np.isnan(drawn).any()  # a gap stays a gap
    for step, value in zip(steps, drawn, strict=True):
        np.testing.assert_equal(value, values[step // 3])
    short = Curve(np.arange(5), np.arange(5.0))
    assert curves.extremes(short, 100)[1].tolist() == [0, 1, 2, 3, 4]


def test_long_curves_are_thinned_to_means_and_keep_their_last_step():
    curve = Curve(np.arange(1000), np.where(np.arange(1000) < 500, np.nan, 2.0))
    steps, values = curves.thinned(curve, 100)
    assert (len(steps), steps[-1]) == (100, 999)
    assert np.isnan(values[:50]).all()
    assert (values[50:] == 2).all()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (-20.7, "−20.7"),
        (4000, "4,000"),
        (1234.5, "1,234"),
        (0.43219, "0.432"),
        (0.00005, "5.0e−5"),
        (float("nan"), "–"),
        (None, "–"),
    ],
)
def test_numbers_are_written_as_people_read_them(value, written):
    assert html.number(value) == written


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
