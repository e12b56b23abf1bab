"""What a run is: its content, its steps, and settings whose ranges are known."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from fovea.agents.algorithms.base import Agent
from fovea.agents.continual.sequence import TaskSequence
from fovea.agents.task import AtariTask
from fovea.atari.parquet import shard_paths
from fovea.command import UserError
from fovea.files import sha256
from fovea.lazy import import_all
from fovea.pretrain.data import Windows
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation, decay
from fovea.pretrain.training.nameable import numeric_settings, reachable
from fovea.pretrain.training.parser import configs_first


@pytest.mark.slow
def test_a_run_goes_on_with_the_data_it_began_with_wherever_it_lies(
    vicreg, short: Path, recordings: Path, tmp_path: Path
) -> None:
    """Fault 1: the same data at another path is the same, other data at the same path is not."""
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(short, data)
    began = vicreg(data, run)
    (tmp_path / "link").symlink_to(data)
    assert vicreg(tmp_path / "link", run, "--trainer.max_steps", 6).step == 6
    shutil.rmtree(data)
    shutil.copytree(recordings / "pong", data / "pong")
    with pytest.raises(UserError, match=r"began with other content of data.recordings: .* was "):
        vicreg(data, run, "--trainer.max_steps", 8)
    record = json.loads((run / "run.json").read_text())
    assert (record["data"], record["step"]) == (began.data, 6)


@pytest.mark.slow
def test_time_that_is_over_is_no_end(vicreg, short: Path, tmp_path: Path, capsys) -> None:
    """Fault 3."""
    asked = ("--trainer.max_steps", 100_000, "--trainer.max_time", "00:00:00:01")
    first = vicreg(short, tmp_path, *asked)
    assert (first.state, 0 < first.step < 100_000) == ("failed", True)
    assert first.reason.startswith(f"stopped at step {first.step:,} of 100,000: trainer.max_time")
    assert not (tmp_path / "encoder").exists()
    assert vicreg(short, tmp_path, *asked).step > first.step
    assert "the same command goes on" in capsys.readouterr().out


BREAKS = {
    "accumulate_grad_batches": 2,  # fault 2
    "max_epochs": 3,
    "limit_train_batches": 5,
    "overfit_batches": 2,
    "fast_dev_run": "true",
    "reload_dataloaders_every_n_epochs": 1,
    "min_steps": 10,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        *list(BREAKS)[:2],
        *(pytest.param(name, marks=pytest.mark.evidence) for name in list(BREAKS)[2:]),
    ],
)
def test_settings_of_the_trainer_that_break_the_count_are_refused(
    setting: str, dqn, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"trainer\.{setting} .*: a run counts its steps"):
        dqn(tmp_path / "run", f"--trainer.{setting}", BREAKS[setting])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_card_counts_what_was_seen(vicreg, short: Path, tmp_path: Path) -> None:
    """Fault 10; and names it by its hash."""
    record = vicreg(short, tmp_path, "--trainer.accumulate_grad_batches", 2)
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    assert (record.batch, config["fovea"]["samples"]) == (16, 4 * 16)
    shards = "".join(sha256(path) for path in shard_paths(short / "breakout"))
    breakout = hashlib.sha256(shards.encode()).hexdigest()
    assert config["fovea"]["data_sha256"] == record.data == {"breakout": breakout}
    card = (tmp_path / "encoder" / "README.md").read_text(encoding="utf-8")
    assert f"| data sha256 | breakout {breakout} |" in card


def test_weight_decay_may_begin_at_zero() -> None:
    """Fault 11."""
    how = Optimisation(weight_decay=0.0, last_weight_decay=0.4)
    layer = torch.nn.Linear(2, 2)
    groups = [{"params": [layer.weight]}, {"params": [layer.bias]}, {"params": []}]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.0)
    decay(optimiser, how, 0.5)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [pytest.approx(0.2), 0, 0]


@pytest.mark.slow
def test_what_fails_after_the_last_step_is_recorded(
    vicreg, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 12: here the export finds no room."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "model.safetensors")

    monkeypatch.setattr("safetensors.torch.serialize", full)
    with pytest.raises(OSError, match="No space left"):
        vicreg(short, tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["state"], record["step"]) == ("failed", 4)
    assert "No space left" in record["reason"]
    monkeypatch.undo()
    assert vicreg(short, tmp_path).state == "done"


def test_settings_hold_wherever_they_stand() -> None:
    """Fault 16."""
    words = ["--data.batch_size", "8", "-c", "vicreg", "--run", "x", "--config=mine.yaml"]
    assert configs_first(words) == ["-c", "vicreg", "--config=mine.yaml", "--data.batch_size", "8",
                                    "--run", "x"]  # fmt: skip


FREE = {"fractions", "value_range"}  # checked as a whole, where they are used


def test_every_number_of_every_config_has_its_range() -> None:
    """Fault 17."""
    for family in ("pretrain.objectives", "agents.algorithms", "agents.adaptation"):
        import_all(f"fovea.{family}")
    found = {}
    for kind in reachable((Objective, Windows, Agent, AtariTask, TaskSequence)):
        if kind.__module__.startswith("fovea."):
            found[kind.__name__] = numeric_settings(kind) - FREE
    assert len(found) > 40
    unlimited = {name: free for name, free in found.items() if free}
    assert not unlimited, "give them types with a range, such as PositiveInt of jsonargparse.typing"


RANGES = {
    "gamma 1.5": (["--model.gamma", 1.5], "gamma"),
    "a seed below 0": (["--seed_everything", -1], "-1"),  # fault 20
    "weights in half precision": (["--trainer.precision", "bf16-true"], "give bf16-mixed"),
    "a negative rate": (["--model.lr", -1], "lr"),
    "no batch": (["--model.batch_size", 0], "batch_size"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", RANGES)
def test_numbers_out_of_their_range_are_refused_in_one_line(case: str, dqn, tmp_path: Path) -> None:
    more, message = RANGES[case]
    with pytest.raises(UserError) as refused:
        dqn(tmp_path / "run", *more)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


DATA = {
    "fractions of less than all": (["--data.fractions", "[0.7,0.1,0.1]"], "whose sum is 1"),  # 9
    "a part without episodes": (["--data.fractions", "[0.9,0.1,0.0]"], "numbers above 0"),
    "a batch of one": (["--data.batch_size", 1], "give 2 or more"),  # 20
}


@pytest.mark.slow
@pytest.mark.parametrize("case", DATA)
def test_odd_divisions_are_refused_in_one_line(
    case: str, vicreg, short: Path, tmp_path: Path
) -> None:
    more, message = DATA[case]
    with pytest.raises(UserError, match=message):
        vicreg(short, tmp_path / "run", *more)
    assert not (tmp_path / "run").exists()


def test_a_run_below_a_file_is_refused_in_one_line(short: Path, vicreg, tmp_path: Path) -> None:
    """Fault 20; `fovea.command.main` makes a line of it."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as refused:
        vicreg(short, tmp_path / "file" / "run")
    assert str(refused.value.filename).startswith(str(tmp_path / "file"))
