"""Settings that no run can be made with, scores of parts of games, sequences that are done."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

import lightning.pytorch.callbacks
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import Namespace
from lightning import Callback, Trainer

from fovea.agents.continual.evaluation import Scores
from fovea.agents.continual.run import continual, parsed
from fovea.agents.continual.tables import tables
from fovea.atari.games import find
from fovea.command import UserError
from fovea.pretrain.training.monitor import HUGE, CollapseMonitor, FiniteMonitor
from fovea.pretrain.training.refused import CALLBACKS, FIXED, SAMPLED, check_trainer
from fovea.pretrain.training.trainer_errors import trainer_settings
from fovea.runs import RunWriter, read_run
from fovea.schema import count_cut

KEEP_THE_COUNT = {
    "BackboneFinetuning", "BaseFinetuning", "BasePredictionWriter", "Callback", "Checkpoint",
    "DeviceStatsMonitor", "EarlyStopping", "EMAWeightAveraging", "LambdaCallback",
    "LearningRateMonitor", "ModelCheckpoint", "ModelPruning", "ModelSummary",
    "OnExceptionCheckpoint", "ProgressBar", "RichModelSummary", "RichProgressBar",
    "SpikeDetection", "ThroughputMonitor", "Timer", "TQDMProgressBar", "WeightAveraging",
}  # fmt: skip
"""Callbacks of Lightning's by which a run ends where its record says, or says that it did not."""


def settings(callbacks: object) -> Namespace:
    """Of a trainer, as a config that names these callbacks has them."""
    plain = {name: allowed[0] for name, allowed in (FIXED | SAMPLED).items()}
    return Namespace(**plain, precision="32-true", callbacks=callbacks)


def test_every_callback_of_lightnings_keeps_the_count_or_is_refused() -> None:
    there = set(lightning.pytorch.callbacks.__all__)
    assert there == KEEP_THE_COUNT | {kind.__name__ for kind in CALLBACKS}


class Mine(lightning.pytorch.callbacks.GradientAccumulationScheduler):
    """A callback of the user's."""


@pytest.mark.parametrize("kind", [*CALLBACKS, Mine])
@pytest.mark.parametrize("alone", [True, False])
def test_callbacks_that_break_the_count_are_refused(kind: type[Callback], alone: bool) -> None:
    named = Namespace(class_path=f"lightning.pytorch.callbacks.{kind.__name__}")
    asked = named if kind is not Mine else Mine({0: 2})
    fine = Namespace(class_path="lightning.pytorch.callbacks.Timer")
    with pytest.raises(UserError, match=rf"{kind.__name__}: a run counts its steps, and it .*out$"):
        check_trainer(settings(asked if alone else [fine, asked]), SAMPLED)
    for harmless in (None, fine, [fine]):
        check_trainer(settings(harmless), SAMPLED)


WRONG = {
    "strategy": "foo",
    "accelerator": "foo",
    "devices": "abc",
    "gradient_clip_algorithm": "foo",
    "max_time": "foo",
    "limit_val_batches": -1,
    "val_check_interval": 200,  # which Lightning compares with the data, when it begins
}


@pytest.mark.slow
@pytest.mark.parametrize("setting", WRONG)
def test_what_lightning_says_of_a_setting_is_one_line_and_leaves_no_folder(
    setting: str, vicreg, short: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        vicreg(short, tmp_path / "run", f"--trainer.{setting}", WRONG[setting])
    said = str(refused.value)
    assert said.startswith(f"trainer.{setting} {WRONG[setting]}: ")
    assert said.endswith(": change it, or leave it out")
    assert "\n" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_refused_setting_takes_nothing_that_was_there(
    vicreg, short: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    asked = "--trainer.strategy", "foo"
    with pytest.raises(UserError):
        vicreg(short, tmp_path, *asked)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", ".lock"}
    vicreg(short, tmp_path)
    with pytest.raises(UserError):
        vicreg(short, tmp_path, "--trainer.max_steps", 6, *asked)
    assert vicreg(short, tmp_path).step == 4


APART = {
    *("deterministic", "benchmark"),  # the Trainer hands them to torch, for the whole process
    *("callbacks", "plugins", "logger"),  # the parser makes objects of them, and refuses texts
}
SETTINGS = sorted(set(inspect.signature(Trainer).parameters) - APART)


@given(st.sampled_from(SETTINGS), st.text("fo.-1\n", min_size=1, max_size=5))
def test_no_text_for_a_setting_of_the_trainer_ends_in_a_traceback(name: str, text: str) -> None:
    said = ""
    try:
        with trainer_settings({name: text}):
            Trainer(**{"accelerator": "cpu", "logger": False, "devices": 1} | {name: text})
    except UserError as refused:
        said = str(refused)
    assert "\n" not in said
    assert not said or said.startswith((f"trainer.{name} ", "settings of the trainer: "))


SEQUENCE = """
seed_everything: 0
games: [breakout, freeway]
steps_per_game: 100
episodes: 1
evaluation_envs: 1
reference: null
methods: {all: {encoder: {class_path: fovea.agents.Frozen, init_args: {encoder: ENCODER}}}}
agent: {class_path: fovea.agents.DQN, init_args: {hidden: 8}}
task: {num_envs: 1, max_frames: 400, full_actions: true}
trainer: {}
checkpoint_every: 10
"""


@pytest.fixture
def sequence(small_encoder: Path, tmp_path: Path) -> list[str]:
    """The arguments of a small sequence, whose encoder folder is a copy."""
    shutil.copytree(small_encoder, tmp_path / "encoder")
    text = SEQUENCE.replace("ENCODER", str(tmp_path / "encoder"))
    (tmp_path / "sequence.yaml").write_text(text)
    return ["-c", str(tmp_path / "sequence.yaml"), "--run", str(tmp_path / "run")]


@pytest.mark.slow
def test_settings_of_a_sequence_hold_wherever_they_stand(
    sequence: list[str], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended:
        continual(["--print_config", "--steps_per_game", "777", *sequence])
    assert not ended.value.code
    assert yaml.safe_load(capsys.readouterr().out)["steps_per_game"] == 777


@pytest.mark.slow
def test_a_finished_sequence_does_without_its_encoder(
    sequence: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder, _, resolved = parsed(sequence)
    RunWriter(folder, "continual", "all").update(state="done")
    (folder / "config.yaml").write_text(resolved)
    shutil.rmtree(tmp_path / "encoder")
    continual(sequence)
    assert f"{folder}: already done" in capsys.readouterr().out
    RunWriter(folder, "continual", "all").update(state="failed")
    with pytest.raises(UserError, match="encoder"):
        continual(sequence)


@pytest.mark.slow
def test_parts_of_games_are_not_scored_against_the_human_tester(
    sequence: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One episode of Breakout was cut at 400 frames, and none of Freeway."""
    folder, made, _ = parsed(sequence)
    lengths = {"breakout": 100, "freeway": 60}
    cells = [
        {"extractor": after, "heads": after, "game": game, "returns": [2.0], "lengths": [length]}
        for after in range(2)
        for game, length in lengths.items()
    ]
    (folder / "all").mkdir(parents=True)
    (folder / "all" / "scores.json").write_text(json.dumps(cells))
    found = tables(folder, made, {"all": Scores(folder, made, "all")})
    assert found.high == [None, find("freeway").human]
    for row in found.methods["all"].scores:
        assert row[0] is None
        assert row[1] is not None


@given(st.lists(st.integers(0, 300)), st.integers(1, 60), st.none() | st.integers(1, 108_001))
def test_an_episode_is_cut_where_all_its_frames_were_played(
    lengths: list[int], frame_skip: int, max_frames: int | None
) -> None:
    cut = count_cut(lengths, max_frames, frame_skip)
    if max_frames is None or max_frames >= 108_000:
        assert cut == 0
    else:
        assert cut == len([length for length in lengths if length * frame_skip >= max_frames])


class Trained:
    """What monitors look at of a trainer."""

    global_step = 25


@pytest.mark.parametrize("begun", [[], ["recordings differ"], ["the features have collapsed at 5"]])
def test_each_kind_of_trouble_is_remarked_once_whatever_else_was(
    begun: list[str], tmp_path: Path
) -> None:
    run, module = RunWriter(tmp_path, "pretrain", "control"), torch.nn.Linear(1, 1)
    for one in begun:
        run.remark(one)
    module.device, module.may_collapse = torch.device("cpu"), True
    module.notes = {"feature_std": 1e-9}
    for _ in range(2):  # as often as the run goes on
        for monitor in (FiniteMonitor(run), CollapseMonitor(run)):
            monitor.on_train_start(Trained, module)
            for _ in range(3):
                outputs = {"loss": torch.tensor(HUGE * 2)}
                monitor.on_train_batch_end(Trained, module, outputs, None, 0)
    remarks = [one[:10] for one in read_run(tmp_path).remarks]
    expected = {"the loss i", "the featur", *(one[:10] for one in begun)}
    assert sorted(remarks) == sorted(expected)
