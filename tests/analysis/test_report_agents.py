"""What the page of a report says of agents, and of several seeds of one."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import report_samples as samples
from fovea.analysis import report


def test_a_short_run_of_an_agent_is_said_to_show_no_skill(quickstart, tmp_path):
    text, _, _ = quickstart
    assert "dqn (4,000 steps) and ppo (4,000 steps) learned for much less than" in text.text
    assert "this shows the way and no skill" in text.text
    samples.agent(tmp_path / "long", "long", seed=0, step=400_000, steps=400_000)
    text, _ = samples.page(tmp_path, tmp_path / "out")
    assert "no skill" not in text.text


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


def test_an_agent_whose_episodes_all_go_on_is_said_to_have_no_returns_yet(tmp_path):
    samples.run(tmp_path / "r", "agent", [(100, {"loss": 1.0})], step=100)
    text, data = samples.page(tmp_path, tmp_path / "out")
    assert "No episode has ended while the agents learned." in text.text
    assert "returns" not in data["charts"]
