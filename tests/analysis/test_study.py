"""A study runs what its file says, goes on where it was, and compares what came out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from fovea.analysis import encoder_table as standing
from fovea.analysis import study
from fovea.analysis.__main__ import parser
from fovea.command import UserError

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "analysis" / "studies").glob("*.yaml"))
OBJECTIVES = ROOT / "analysis" / "studies" / "objectives.yaml"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_names_configs_that_exist(path: Path) -> None:
    asked = study.read(path)
    assert asked.runs
    assert all((ROOT / run["config"]).exists() for run in asked.runs.values())
    assert {name for pair in asked.differences for name in pair} <= set(asked.runs)


def test_a_study_from_games_to_table_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    vicreg = "pretrain/configs/vicreg.yaml"
    # The reference starts from timm's own initial positions.
    small = {"model.init_args.encoder.patch": 42, "model.init_args.encoder.positions": "normal",
             "model.init_args.expander": 8}  # fmt: skip
    still = {**small, "model.init_args.optimisation.lr": 0}
    content = {
        "kind": "encoders", "title": "Small", "games": ["breakout"], "steps": 1500,
        "samples": 16, "batch": 8, "stacks": 1000, "seeds": [0, 1],
        "differences": [["moved", "still"]],
        "runs": {"moved": {"config": vicreg, "settings": small},
                 "still": {"config": vicreg, "settings": still}},
    }  # fmt: skip
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    command = ["study", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out")]
    args = parser().parse_args([*command, "--seeds", "1", "--accelerator", "cpu"])
    args.run(args)
    table = (tmp_path / "out" / "study.md").read_text()
    for name in ("moved", "still", "random", "pixels", "moved - still"):
        assert f"| {name} |" in table
    with open(tmp_path / "out" / "study.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"1"}
    scores = {row["encoder"]: float(row["r2"]) for row in rows}
    # Without a learning rate the encoder stays what it was: untrained, from the same seed.
    assert scores["still"] == pytest.approx(scores["random"], abs=1e-5)
    assert scores["moved"] != scores["random"]
    capfd.readouterr()
    args.run(args)
    again = "".join(capfd.readouterr())
    assert again.count("already done") == 2
    assert (tmp_path / "out" / "study.md").read_text() == table


def test_runs_side_by_side_write_logs_and_a_fault_names_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    wrong = {tmp_path / name: [["atari", "ls"], ["atari", "collect", name, "--out", tmp_path]]
             for name in ("one", "other")}  # fmt: skip
    with pytest.raises(UserError, match=r"see the last line of .*/(one|other)\.log, mend that"):
        study._side_by_side(wrong, 2, "seed 0")
    for name in ("one", "other"):
        log = (tmp_path / f"{name}.log").read_text()
        assert "breakout" in log  # what the command before said
        assert f"unknown game '{name}'" in log
    assert "unknown game" not in "".join(capfd.readouterr())


def test_means_intervals_and_differences_by_hand(tmp_path: Path) -> None:
    for seed, better in ((0, 0.6), (1, 0.8)):
        probes = tmp_path / f"seed-{seed}" / "probes" / "probes"
        probes.mkdir(parents=True)
        encoders = {"mine": better, "other": 0.5, "random": 0.4}
        write(probes / "state.json", encoders, {
            "categories": (["game", "category", "variables", "r2", "f1"],
                           lambda v: ["pong", "mean", 3, v, v / 2]),
            "overall": (["category", "games", "r2", "f1"], lambda v: ["misc", 1, v / 4, v / 5]),
        })  # fmt: skip
        write(probes / "collapse.json", encoders, {
            "features": (["game", "place", "rankme"], lambda v: ["pong", "summary", 10 * v]),
        })  # fmt: skip
        for name in ("mine", "other"):
            (tmp_path / f"seed-{seed}" / name).mkdir()
            line = f"9,held_out/order_accuracy,{better}\n" if name == "mine" else ""
            text = "step,name,value\n" + line
            (tmp_path / f"seed-{seed}" / name / "metrics.csv").write_text(text)
    found = standing.table(tmp_path, ["mine", "other"], [0, 1], [["mine", "other"]])
    np.testing.assert_allclose(found["r2"]["mine"], [[0.6], [0.8]])
    np.testing.assert_allclose(found["differences"]["f1"]["mine - other"], [[0.05], [0.15]])
    text = standing.written("By hand", found)["study.md"]
    assert (
        "| mine | 0.700 (0.600 to 0.800) | 0.350 (0.300 to 0.400) | 7.0 | 0.70 | 1 of 1 |" in text
    )
    assert "| random | 0.400 (0.400 to 0.400) | 0.200 (0.200 to 0.200) | 4.0 |  | 0 of 1 |" in text
    assert "| mine - other | +0.200 (+0.100 to +0.300) |" in text
    assert "| encoder | misc |\n|---|---|\n| mine | 0.175, 0.140 |" in text


def write(path: Path, encoders: dict[str, float], tables: dict[str, tuple]) -> None:
    """A probe's results, each table {name: (columns, its one row of an encoder's number)}."""
    results = {
        encoder: {
            "tables": [
                {"name": name, "columns": columns, "rows": [row(value)]}
                for name, (columns, row) in tables.items()
            ]
        }
        for encoder, value in encoders.items()
    }
    path.write_text(json.dumps({"encoders": results}))


@pytest.mark.parametrize(("change", "message"), [
    ({"sampls": 3}, "has an unknown key 'sampls'"),
    ({"samples": ...}, "lacks 'samples'"),
    ({"kind": ...}, "is of kind None: write `kind: encoders` or `kind: agents` into it"),
    ({"kind": "probes"}, "is of kind 'probes': write"),
    ({"kind": "agents"}, "has an unknown key 'batch': the keys of agents are kind, "),
])  # fmt: skip
def test_a_mistake_in_a_study_is_named(change: dict, message: str, tmp_path: Path) -> None:
    content = yaml.safe_load(OBJECTIVES.read_text()) | change
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not ...}))
    with pytest.raises(UserError, match=message):
        study.read(path)


def test_an_unknown_run_is_refused(tmp_path: Path) -> None:
    command = ["study", str(OBJECTIVES), "--out", str(tmp_path), "--only", "nothing"]
    args = parser().parse_args(command)
    with pytest.raises(UserError, match="the study has no run nothing"):
        args.run(args)


def test_a_study_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("runs: {one: {encoder: runs/seed-{seed}/recipe}}")
    with pytest.raises(UserError, match=r"wrong\.yaml is no YAML: .* line 1"):
        study.read(path)
