"""How runs came about, as the page of a report says it."""

from __future__ import annotations

import json

import pytest

import report_samples as samples


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


@pytest.mark.slow
def test_a_run_that_failed_is_named_with_its_reason_first(tmp_path):
    samples.quickstart(tmp_path)
    reason = "the features collapsed at step 120: std 0.001"
    samples.pretraining(tmp_path / "broken", "broken", state="failed", reason=reason, step=120)
    text, _ = samples.page(tmp_path, tmp_path / "out")
    short = text.text[text.text.index("In short", text.text.index("Report on")) :]
    assert f"broken failed at step 120: {reason}" in short
    assert short.index(reason) < short.index("R² of a linear read-out")
