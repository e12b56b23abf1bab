"""The run folder: whole records, appended metrics, one process at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fovea.command import UserError
from fovea.files import exclusive, replacing, write_json
from fovea.runs import RunWriter, read_run
from fovea.schema import Evaluation, RunRecord


def test_a_record_says_what_runs(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "mine", "pretrain", "VICReg on pong")
    run.begin(seed=3, steps=10)
    run.update(state="done", step=10)
    record = read_run(tmp_path / "mine")
    assert (record.name, record.kind, record.title) == (
        "mine", "pretrain", "VICReg on pong",
    )  # fmt: skip
    assert (record.state, record.step, record.seed) == ("done", 10, 3)
    assert record.versions["torch"]


def test_a_run_goes_on_in_its_record(tmp_path: Path) -> None:
    first = RunWriter(tmp_path, "pretrain", "one")
    first.update(state="running", seconds=50.0)
    again = RunWriter(tmp_path, "pretrain", "one")
    again.update(state="done")
    assert 50 <= read_run(tmp_path).seconds < 60
    assert read_run(tmp_path).started == first.record.started


def test_what_a_newer_version_wrote_is_kept(tmp_path: Path) -> None:
    run = RunWriter(tmp_path, "agent", "DQN")
    run.update(evaluation=Evaluation(mean=3.0))
    newer = json.loads((tmp_path / "run.json").read_text())
    newer["node"], newer["evaluation"]["entropy"] = "a", 0.5
    write_json(tmp_path / "run.json", newer)
    RunWriter(tmp_path, "agent", "DQN").update(state="done")
    written = json.loads((tmp_path / "run.json").read_text())
    assert (written["node"], written["evaluation"]["entropy"]) == ("a", 0.5)
    assert read_run(tmp_path).evaluation.mean == 3.0


def test_a_key_that_no_reader_knows_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="stepps"):
        RunWriter(tmp_path, "agent", "DQN").update(stepps=3)


@pytest.mark.parametrize("name", ["pretrain", "dqn", "ppo_lora", "probes"])
def test_records_of_version_0_1_are_read(name: str) -> None:
    folder = Path(__file__).parents[1] / "before_0_2" / name
    written = json.loads((folder / "run.json").read_text())
    record = read_run(folder)
    assert record.plain().items() >= {k: v for k, v in written.items() if k != "evaluation"}.items()
    assert record.history == []
    if "evaluation" in written:
        assert record.evaluation.plain().items() >= written["evaluation"].items()
    assert RunRecord.read(record.plain()) == record


def test_another_kind_of_run_is_refused(tmp_path: Path) -> None:
    RunWriter(tmp_path, "pretrain", "one").update(state="done")
    with pytest.raises(UserError, match="holds a run of kind pretrain, not probes"):
        RunWriter(tmp_path, "probes", "two")


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    for text in ('{"name": ', "[1]", '{"evaluation": 3}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(UserError, match=r"run\.json is damaged"):
            read_run(tmp_path)


def test_metrics_are_appended_and_survive_a_torn_line(tmp_path: Path) -> None:
    run = RunWriter(tmp_path, "pretrain", "one")
    run.log(0, {"loss": 0.1, "lr": 1e-3})
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("1,los")
    run.log(1, {"loss": float("nan")})
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ["step,name,value", "0,loss,0.1", "0,lr,0.001", "1,los", "1,loss,nan"]


def test_a_second_process_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    code = (
        "import sys; from fovea.files import exclusive\n"
        f"with exclusive({str(tmp_path)!r}): print('mine', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "mine\n"
    with pytest.raises(UserError, match=f"in use by process {holder.pid}"), exclusive(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with exclusive(tmp_path):
        assert (tmp_path / ".lock").read_text()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, [1])

    def break_off() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert json.loads(path.read_text()) == [1]
    assert list(tmp_path.iterdir()) == [path]
