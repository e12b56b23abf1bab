"""What happens to an agent: divergence, parts of games, an encoder that is gone, its replay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from fovea.agents.evaluation import evaluate_run
from fovea.agents.loading import load_agent
from fovea.command import Terminated, UserError
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.training.checkpoint import newest, read
from fovea.pretrain.training.monitor import HUGE, FiniteMonitor
from fovea.runs import RunWriter, read_run
from fovea.schema import Evaluation


@pytest.mark.slow
def test_an_agent_that_diverges_stops_and_keeps_its_last_good_checkpoint(
    dqn, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Fault 4."""
    with pytest.raises(SystemExit) as stopped:
        dqn(tmp_path, "--model.lr", 1e38, "--trainer.gradient_clip_val", "null",
            "--checkpoint_every", 1)  # fmt: skip
    assert stopped.value.code == 1
    record = read_run(tmp_path)
    assert record.state == "failed"
    assert "not finite" in record.reason
    assert " step " in record.reason
    assert record.reason in capsys.readouterr().err
    if checkpoint := newest(tmp_path / "checkpoints"):
        weights = read(checkpoint)["state_dict"].values()
        assert all(torch.isfinite(weight).all() for weight in weights)


def test_a_loss_that_grows_and_stays_finite_is_remarked_once(tmp_path: Path) -> None:
    class Trainer:
        global_step = 25

    run, module = RunWriter(tmp_path, "agent", "DQN"), torch.nn.Linear(1, 1)
    monitor = FiniteMonitor(run)
    module.device = torch.device("cpu")
    monitor.on_train_start(Trainer, module)
    for loss in (HUGE / 2, HUGE * 2, HUGE * 3):
        monitor.on_train_batch_end(Trainer, module, {"loss": torch.tensor(loss)}, None, 0)
    (remark,) = read_run(tmp_path).remarks
    assert remark.startswith("the loss is 2.0e+06 at step 25: lower the learning rate")


def test_parts_of_games_have_no_normalised_score() -> None:
    """Fault 5: neither do they hide behind episodes that ended by themselves."""
    cut = Evaluation(max_frames=400, lengths=[100, 60, 100])
    assert (cut.cut, cut.cut_short) == (2, True)
    assert Evaluation(max_frames=400, lengths=[99, 60]).cut == 0
    assert Evaluation(max_frames=108_000, lengths=[27_000]).cut == 0
    assert Evaluation(max_frames=400, lengths=[100, 200], frame_skip=2).cut == 1


@pytest.mark.slow
def test_an_agent_lives_without_the_folder_of_its_encoder(
    dqn, small_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Faults 5, 13 and 25."""
    given, run = tmp_path / "encoder", tmp_path / "run"
    shutil.copytree(small_encoder, given)
    settings = ("--model.encoder.encoder", given, "--checkpoint_every", 3)
    with pytest.raises(Terminated):
        dqn(run, *settings, "--trainer.callbacks", "[signalled.Signalled]")
    assert "replay" in read(newest(run / "checkpoints"))["AtariTask"]
    shutil.rmtree(given)
    record = dqn(run, *settings)
    assert (record.state, record.step) == ("done", 84)
    slow = "frame_skip:1"
    evaluate_run(run, episodes=1, envs=1, max_frames=40, seed=0, seconds=0, disturb=[slow])
    evaluation = read_run(run).evaluation
    assert (evaluation.hns, evaluation.cut) == (None, 1)
    disturbed = evaluation.disturbed[slow]
    assert (disturbed.hns, disturbed.cut, disturbed.lengths) == (None, 1, [40])
    said = capsys.readouterr().out
    assert "none: 1 of 1 episodes were cut at 40 frames" in said
    assert "none: 1 cut" in said
    # What evaluation does not need is gone, and growing says so.
    held = [read(path)["AtariTask"] for path in (run / "checkpoints").glob("*.ckpt")]
    assert len(held) == 2
    assert not any(state.keys() & {"replay", "priorities"} for state in held)
    assert load_agent(run).played == 84
    with pytest.raises(UserError, match=r"its replay was not kept .--keep_replay true keeps it"):
        dqn(run, *settings, "--data.total_steps", 90)
    # Another encoder at the same place is another run.
    other = load_encoder("untrained:" + str(small_encoder), 1)
    export_encoder(other, given, {})
    with pytest.raises(UserError, match=r"other content of .*\.encoder: weights was "):
        dqn(run, *settings)


@pytest.mark.evidence
@pytest.mark.slow
def test_the_same_encoder_elsewhere_is_the_same(dqn, small_encoder: Path, tmp_path: Path) -> None:
    """Fault 1, of agents."""
    run = tmp_path / "run"
    dqn(run, "--keep_replay", "true")
    (tmp_path / "link").symlink_to(small_encoder)
    record = dqn(run, "--keep_replay", "true", "--data.total_steps", 88,
                 "--model.encoder.encoder", tmp_path / "link")  # fmt: skip
    assert (record.state, record.step) == ("done", 88)
    assert json.loads((run / "run.json").read_text())["history"][-1]["changed"]
