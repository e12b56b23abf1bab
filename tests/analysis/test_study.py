"""A study runs what its file says, goes on where it was, and compares what came out."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from fovea.analysis import study, study_cells, study_done
from fovea.analysis.study_kinds import EncoderStudy
from fovea.analysis.study_results import Key
from fovea.command import UserError
from fovea.configs import shipped
from fovea.results import ProbeResult
from fovea.runs import RunWriter
from fovea.schema import Evaluation
from fovea.tables import Table

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "analysis" / "studies").glob("*.yaml"))
OBJECTIVES = ROOT / "analysis" / "studies" / "objectives.yaml"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_names_configs_that_exist(path: Path) -> None:
    asked = study.read(path)
    assert asked.runs
    rooms = {
        "encoders": "fovea.pretrain", "agents": "fovea.agents", "timed": "fovea.pretrain"
    }  # fmt: skip
    room = rooms[yaml.safe_load(path.read_text())["kind"]]
    assert {run["config"] for run in asked.runs.values()} <= set(shipped(room))
    assert {name for pair in asked.differences for name in pair} <= set(asked.runs)


def test_studies_that_share_a_folder_share_the_runs_of_one_name() -> None:
    """Else each would take what the other made to be due, and make it anew."""
    returns, read_outs = (study.read(ROOT / "analysis" / "studies" / f"{name}.yaml").made_by()
                          for name in ("returns", "read_outs"))  # fmt: skip
    shared = returns.keys() & read_outs.keys()
    assert {key.run for key in shared} == {"cnn", "untrained", "recipe", "recipe_last_block"}
    assert all(returns[key] == read_outs[key] for key in shared)


@pytest.mark.evidence
@pytest.mark.slow
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
        "samples": 16, "batch": 8, "stacks": 500, "seeds": [0, 1],
        "differences": [["moved", "still"]],
        "runs": {"moved": {"config": vicreg, "settings": small},
                 "still": {"config": vicreg, "settings": still}},
    }  # fmt: skip
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content))
    command = [str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out"), "--seeds", "1",
               "--accelerator", "cpu"]  # fmt: skip
    study.run(command)
    table = (tmp_path / "out" / "study.md").read_text()
    for name in ("moved", "still", "random", "pixels", "moved - still"):
        assert f"| {name} |" in table
    with open(tmp_path / "out" / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"1"}
    scores = {row["run"]: float(row["value"]) for row in rows if row["measure"] == "r2"}
    measures = {row["measure"] for row in rows if row["run"] == "moved"}
    assert {"f1", "r2/misc", "rankme", "r2/tokens/labels_all", "r2/cls/block_4/labels_300",
            "r2/cls_and_mean/labels_100"} <= measures  # fmt: skip
    with open(tmp_path / "out" / "runs.csv", newline="") as file:
        ran = {row["run"]: row for row in csv.DictReader(file)}
    assert ran.keys() == {"moved", "still", "random", "pixels", "pixels_pooled", "majority"}
    assert ran["still"]["command"].startswith(
        "fovea atari collect breakout --out OUT/recordings --steps 1500 && fovea pretrain fit -c "
    )
    assert ran["random"]["command"].endswith("--probe collapse --samples 500 --seed 1")
    # Without a learning rate the encoder stays what it was: untrained, from the same seed.
    assert scores["still"] == pytest.approx(scores["random"], abs=1e-5)
    assert scores["moved"] != scores["random"]
    capfd.readouterr()
    study.run(command)
    again = "".join(capfd.readouterr())
    # What would first import torch is not even started.
    assert again.count("already done: fovea pretrain fit") == 2
    assert again.count("already done: fovea probes run") == 1
    assert (tmp_path / "out" / "study.md").read_text() == table
    # Nor is anything made again where the run folders are gone.
    (tmp_path / "out").rename(tmp_path / "results")
    for folder in ("recordings", "seed-1"):
        shutil.rmtree(tmp_path / "results" / folder)
    study.run([*command, "--results", str(tmp_path / "results")])
    assert "kept: seed-1/moved, seed-1/still\n" in capfd.readouterr().out
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "results" / "study.md").read_text() == table


@pytest.mark.slow
def test_runs_side_by_side_write_logs_and_a_fault_names_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    wrong = {tmp_path / name: [["atari", "ls"], ["atari", "collect", name, "--out", tmp_path]]
             for name in ("one", "other")}  # fmt: skip
    said = r"see the last line of .*/(one|other)\.log, mend that"
    with pytest.raises(UserError, match=said), study_cells.Processes(2) as workers:
        study_cells.run_cells(wrong, workers, "seed 0", logs=True)
    for name in ("one", "other"):
        log = (tmp_path / f"{name}.log").read_text()
        assert "breakout" in log  # what the command before printed
        assert f"unknown game '{name}'" in log
    assert "unknown game" not in "".join(capfd.readouterr())


def test_fewer_samples_than_a_batch_are_refused(tmp_path: Path) -> None:
    command = [str(OBJECTIVES), "--out", str(tmp_path / "out"), "--samples", "16"]
    with pytest.raises(UserError, match="16 samples are less than a batch of 64: take more"):
        study.run(command)


def made(folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run folder as a study leaves it whose command `asked` has ended well."""
    found = study_done.contents(asked)
    monkeypatch.setattr("sys.argv", asked)
    run = RunWriter(folder, "pretrain", "VICReg")
    run.begin()
    assert not study_done.is_done(asked)
    run.update(state="done", step=3)
    study_done.keep_contents(asked, found)
    assert study_done.is_done(asked)


def test_a_command_is_done_until_something_that_it_names_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the clock said: contents are compared, and no times."""
    names = ("vicreg.yaml", "recordings/pong/_dataset.json", "pong/_dataset.json",
             "base/run.json", "base/encoder/SHA256SUMS")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as it was")
    folder, monday = tmp_path / "run", 1e9
    asked = ["fovea", "pretrain", "fit", "-c", "vicreg.yaml", "--data.recordings",
             "[others, recordings, pong]", "--run", str(folder), "--encoder", "mine=base",
             "--chain", "[{name: shift}, " + 300 * "x" + "\0]", "--x", "1"]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert not study_done.is_done(asked)
    made(folder, asked, monkeypatch)
    assert not study_done.is_done([*asked[:-1], "2"])
    assert not study_done.is_done(["fovea", "atari", "collect", "pong", "--out", str(folder)])
    (tmp_path / "pretrain").mkdir()  # a command's own words name no files
    (tmp_path / "pretrain" / "run.json").touch()
    for name in names:
        for moment in (monday, 3 * monday):
            os.utime(tmp_path / name, (moment, moment))
            assert study_done.is_done(asked)
        for moment in (monday, 3 * monday):  # also by a clock that was set back
            (tmp_path / name).write_text("as it is")
            os.utime(tmp_path / name, (moment, moment))
            assert not study_done.is_done(asked), name
        (tmp_path / name).unlink()
        assert not study_done.is_done(asked), name
        (tmp_path / name).write_text("as it was")
        assert study_done.is_done(asked)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '{"x": 1}', "[" * 10**5, "\0"])
def test_what_was_kept_of_a_command_may_be_damaged(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is due, and finds out itself what is left to do."""
    config, folder = tmp_path / "vicreg.yaml", tmp_path / "run"
    config.write_text("seed_everything: 0")
    asked = ["fovea", "pretrain", "fit", "-c", str(config), "--run", str(folder)]
    made(folder, asked, monkeypatch)
    (folder / "made_of.json").write_text(text)
    assert not study_done.is_done(asked)
    study_done.keep_contents(asked, study_done.contents(asked))
    assert study_done.is_done(asked)


def test_an_evaluation_is_done_until_the_agent_has_learned_more(tmp_path: Path) -> None:
    asked = ["fovea", "agents", "evaluate", "--run", str(tmp_path)]
    run = RunWriter(tmp_path, "agent", "DQN")
    run.begin()
    run.update(
        state="done", step=300, evaluation=Evaluation(command=shlex.join(asked), trained=300)
    )
    assert study_done.is_done(asked)
    assert not study_done.is_done([*asked, "--episodes", "3"])
    run.update(step=400)
    assert not study_done.is_done(asked)


SMALL = EncoderStudy(
    title="By hand", games=["pong"], steps=1, seeds=[0, 1, 2], samples=64, batch=64, stacks=10,
    runs={"mine": {"config": "vicreg"}, "other": {"config": "byol"}},
    differences=[["mine", "other"]],
)  # fmt: skip


def probed(out: Path, seed: int, encoders: dict[str, float]) -> None:
    """What pretraining and probing leave of a seed: R2 by encoder, and numbers that follow."""
    probes = out / f"seed-{seed}" / "probes" / "probes"
    probes.mkdir(parents=True)
    ProbeResult(encoders={
        name: [
            Table("categories", "", ["game", "category", "variables", "r2", "f1"],
                  [["pong", "misc", 1, v / 4, v / 5], ["pong", "mean", 3, v, v / 2]]),
            Table("labels", "", ["game", "labels", "stacks", "draws", "cls", "cls_std"],
                  [["pong", "1,000", 1000, 5, v / 3, 0.1], ["pong", "all", 9999, 1, v, None]]),
            Table("blocks", "", ["game", "block", "labels", "stacks", "draws", "cls", "cls_std"],
                  [["pong", 0, "300", 300, 5, None, None], ["pong", 1, "300", 300, 5, v / 8, 0]]),
        ]
        for name, v in encoders.items()
    }).write(probes / "state.json")  # fmt: skip
    ProbeResult(encoders={
        name: [Table("features", "", ["game", "place", "rankme"],
                     [["pong", "summary", 10 * v], ["pong", "tokens", 0]])]
        for name, v in encoders.items()
    }).write(probes / "collapse.json")  # fmt: skip
    RunWriter(probes.parent, "probes", "Probes").begin()
    for name in ("mine", "other"):
        run = RunWriter(out / f"seed-{seed}" / name, "pretrain", name)
        if name == "mine":
            run.log(8, {"held_out/order_accuracy": 0.1})
            run.log(9, {"held_out/order_accuracy": encoders[name]})
        run.update(state="done", commit="abc+", seconds=71.4)


def test_results_of_encoders_and_their_page_by_hand(tmp_path: Path) -> None:
    for seed, better in ((0, 0.6), (1, 0.8)):
        probed(tmp_path, seed, {"mine": better, "other": 0.5, "random": 0.4})
    keys = [Key(name, seed) for seed in (0, 1) for name in ("mine", "other")]
    found = SMALL.results(tmp_path, keys)
    assert found.keys() == {*keys, Key("random", 0), Key("random", 1)}
    mine = found["mine", 0, ""]
    assert (mine.commit, mine.seconds) == ("abc+", 71)
    assert mine.scores == {
        ("pong", "r2"): 0.6, ("pong", "f1"): 0.3, ("pong", "rankme"): 6,
        ("pong", "r2/misc"): 0.15, ("pong", "f1/misc"): 0.12, ("", "order_accuracy"): 0.6,
        ("pong", "r2/cls/labels_1000"): 0.2, ("pong", "r2/cls/labels_all"): 0.6,
        ("pong", "r2/cls/block_1/labels_300"): 0.075,
    }  # fmt: skip
    page = SMALL.files(found)["study.md"]
    for row in (
        "| mine | 2 of 3 | 0.700 (0.600, 0.800) | 0.350 (0.300, 0.400) | 7.0 | 0.70 | 1 of 1 |",
        "| random | 2 of 3 | 0.400 (0.400, 0.400) | 0.200 (0.200, 0.200) | 4.0 |  | 0 of 1 |",
        "| mine - other | 2 of 3 | +0.200 (+0.100, +0.300) | +0.100 (+0.050, +0.150) |",
        "| encoder | misc |\n|---|---|\n| mine | 0.175, 0.140 |",
    ):
        assert row in page
    # In the middle of a study: a difference is of the seeds that both have.
    del found[Key("other", 1)]
    page = SMALL.files(found)["study.md"]
    assert "| other | 1 of 3 | 0.500 | 0.250 | 5.0 |  | 1 of 1 |" in page
    assert "| mine - other | 1 of 3 | +0.100 | +0.050 |" in page


@pytest.mark.parametrize(("change", "message"), [
    ({"sampls": 3}, "has an unknown key 'sampls'"),
    ({"samples": ...}, "lacks 'samples'"),
    ({"kind": ...}, "is of kind None: write `kind: encoders` or .* or `kind: timed` into"),
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
    with pytest.raises(UserError, match="the study has no run nothing: known are atc, "):
        study.run([str(OBJECTIVES), "--out", str(tmp_path), "--only", "nothing"])


def test_a_study_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("runs: {one: {encoder: runs/seed-{seed}/recipe}}")
    with pytest.raises(UserError, match=r"wrong\.yaml is no YAML of plain values \(.* line 1"):
        study.read(path)
