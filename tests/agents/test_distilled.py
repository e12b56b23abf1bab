"""A policy is taught by an agent that plays, in that one's game."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fovea.agents.adaptation.base import Frozen
from fovea.agents.distilled import Distilled, labels
from fovea.agents.experience.taught import Lessons
from fovea.agents.fit import fit
from fovea.agents.loading import load_agent
from fovea.agents.task import AtariTask
from fovea.command import UserError
from fovea.old_names import read_config

SMALL = ("--model.init_args.hidden", 8, "--model.init_args.batch_size", 8,
         "--model.init_args.learning_starts", 16, "--model.init_args.train_freq", 4,
         "--data.num_envs", 2, "--data.total_steps", 40)  # fmt: skip
PATCHES = ("--model.init_args.encoder", "Frozen", "--model.init_args.encoder.init_args.encoder",
           "random:patches42")  # fmt: skip


def test_labels_by_hand() -> None:
    """Values of 0, tau log 3 and tau log 6; the policy likes the first two."""
    tau = 0.5
    scores = tau * torch.tensor([[1.0, 3.0, 6.0]]).log()
    logp = torch.tensor([[0.5, 0.3, 0.2]]).log()
    torch.testing.assert_close(labels(scores, logp, tau, None), torch.tensor([[0.1, 0.3, 0.6]]))
    torch.testing.assert_close(labels(scores, logp, tau, 2), torch.tensor([[0.25, 0.75, 0.0]]))
    assert labels(scores, logp, tau, 1).tolist() == [[1, 0, 0]]
    assert torch.equal(labels(scores, logp, tau, 3), labels(scores, logp, tau, None))


def test_losses_by_hand() -> None:
    """All three actions alike, states worth 2; the teacher says 1."""
    pupil = Distilled("nowhere", Frozen("random:patches42"), 3, teacher_tau=0.5, hidden=4)
    for layer in (pupil.policy, pupil.value):
        torch.nn.init.zeros_(layer.weight)
    torch.nn.init.constant_(pupil.value.bias, 2.0)
    obs = pupil.observe(torch.zeros(2, 4, 84, 84, dtype=torch.uint8))
    losses = pupil.losses(Lessons(obs, torch.rand(2, 3), torch.ones(2)))
    assert losses["policy"].item() == pytest.approx(torch.tensor(3.0).log().item())
    assert losses["value"].item() == pytest.approx(0.5 * 0.5 * 1)


@pytest.mark.slow
def test_lessons_are_what_the_teacher_says_and_the_pupil_plays_once_it_learns(
    teacher: Path,
) -> None:
    dqn = load_agent(teacher).agent
    task = AtariTask("pong", num_envs=2, total_steps=64, sticky=0.5, max_frames=40)
    pupil = Distilled(str(teacher), Frozen("random:nature_cnn"), task.action_count, hidden=4,
                      teacher_tau=0.5, batch_size=8, learning_starts=24, train_freq=4,
                      buffer_size=64)  # fmt: skip
    task.attach(pupil)
    seen: dict[bytes, torch.Tensor] = {}
    advance = task.experience.advance

    def watched() -> None:
        for obs, screens in zip(task.experience.obs, task.envs.screens.copy(), strict=True):
            seen[obs.numpy().tobytes()] = torch.from_numpy(screens)
        advance()

    task.experience.advance = watched
    lessons = task.experience.batch(0)
    assert task.experience.played == 28
    screens = torch.stack([seen[obs.numpy().tobytes()] for obs in lessons.obs])
    values = dqn.action_scores(screens)
    torch.testing.assert_close(lessons.scores, values, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        lessons.value, ((values / 0.5).softmax(1) * values).sum(1), rtol=0, atol=1e-4
    )
    # From then on the policy plays: one that always does the same is seen to do so.
    taught = set(task.experience.replay.held["action"][:12].flatten().tolist())
    other = min(set(range(task.action_count)) - taught)
    torch.nn.init.constant_(pupil.policy.bias, -1e9)
    with torch.no_grad():
        pupil.policy.bias[other] = 1e9
    task.experience.batch(3)
    assert set(task.experience.replay.held["action"][14:20].flatten().tolist()) == {other}


@pytest.mark.slow
def test_the_command_takes_the_game_from_the_teacher(
    teacher: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    assert command("distil", "--teacher", teacher, *PATCHES, *SMALL, "--run", run) == 0
    data = read_config(run)["data"]
    assert (data["game"], data["sticky"], data["max_frames"]) == ("pong", 0.5, 400)
    assert load_agent(run).played == 40
    capsys.readouterr()
    assert command("distil", "--teacher", tmp_path, "--run", tmp_path / "new") == 2
    assert "holds no agent" in capsys.readouterr().err


@pytest.mark.evidence
@pytest.mark.slow
def test_lessons_go_on_bit_for_bit(
    teacher: Path, tmp_path: Path, command: Callable[..., int]
) -> None:
    """However often they are saved, and from the end of a shorter run."""
    asked = ("distil", "--teacher", teacher, *PATCHES, *SMALL, "--model.init_args.anneal_lr",
             "false", "--keep_replay", "true")  # fmt: skip
    for run, steps, every in (("grown", 40, 100), ("grown", 56, 100), ("straight", 56, 3)):
        more = ("--data.total_steps", steps, "--checkpoint_every", every)
        assert command(*asked, "--run", tmp_path / run, *more) == 0
    grown, straight = (load_agent(tmp_path / one).agent for one in ("grown", "straight"))
    weights = straight.state_dict()
    assert all(torch.equal(one, weights[name]) for name, one in grown.state_dict().items())


@pytest.mark.evidence
@pytest.mark.slow
def test_a_ppo_begins_where_a_policy_was_taught(teacher: Path, tmp_path: Path) -> None:
    taught, ppo = tmp_path / "taught", tmp_path / "ppo"
    settings = [*map(str, (*PATCHES, *SMALL[:2], "--model.init_args.features.norm_samples", 16,
                           "--model.init_args.features.norm", "standard"))]  # fmt: skip
    fit(["-c", "distilled", "--run", str(taught), "--model.init_args.teacher", str(teacher),
         *settings, *map(str, SMALL[2:])])  # fmt: skip
    fit(["-c", "ppo_nature", "--run", str(ppo), "--init_from", str(taught), *settings,
         "--data.num_envs", "2", "--data.total_steps", "32", "--model.init_args.num_steps", "16",
         "--model.init_args.lr", "0"])  # fmt: skip
    ours, theirs = (load_agent(run).agent.state_dict() for run in (taught, ppo))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_another_game_than_the_teachers_is_refused(teacher: Path) -> None:
    task = AtariTask("breakout", num_envs=2, total_steps=64)
    pupil = Distilled(str(teacher), Frozen("random:patches42"), task.action_count)
    with pytest.raises(UserError, match="plays pong with 6 actions on stacks of 4, and this agent "
                       "breakout with 4 on stacks of 4"):  # fmt: skip
        task.attach(pupil)
