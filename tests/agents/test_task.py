"""The game an agent learns: named protocols, and which actions there are."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fovea.agents.algorithms.base
from fovea.agents.adaptation.base import Adapted, Frozen
from fovea.agents.algorithms.base import Agent
from fovea.agents.experience.off_policy import OffPolicy
from fovea.agents.experience.replay import Transitions
from fovea.agents.task import PROTOCOLS, AtariTask
from fovea.pretrain.encoders.vit import Shape, build
from fovea.pretrain.training.checkpoint import newest
from fovea.runs import read_run

CONFIG = Path(__file__).parents[2] / "agents" / "configs" / "ppo_nature.yaml"


def test_a_protocol_names_the_settings_and_a_setting_beside_it_holds() -> None:
    plain, strict = (
        AtariTask("pong", num_envs=1),
        AtariTask("pong", num_envs=1, protocol="atari_100k"),
    )
    assert plain.env_settings == PROTOCOLS["machado"] == (0.25, 30, False, 108_000, 10)
    assert strict.env_settings == PROTOCOLS["atari_100k"] == (0.0, 30, True, 108_000, 100)
    own = AtariTask("pong", num_envs=1, protocol="atari_100k", sticky=0.1, max_frames=400)
    assert own.env_settings == (0.1, 30, True, 400, 100)


@pytest.mark.parametrize(("full", "count"), [(False, 4), (True, 18)])
def test_the_actions_are_the_games_own_or_all(full: bool, count: int) -> None:
    task = AtariTask("breakout", num_envs=1, full_actions=full)
    assert task.action_count == count
    assert task.make_envs(1, False, 400, seed=0).action_count == count


def test_the_example_of_an_agent_is_one() -> None:
    """The lines that tell how to write one, with their imports."""
    names = {"Adapted": Adapted, "Agent": Agent, "OffPolicy": OffPolicy, "nn": nn, "F": F}
    exec(textwrap.dedent(fovea.agents.algorithms.base.__doc__.partition("a test:\n")[2]), names)
    task = AtariTask("pong", num_envs=2, total_steps=2000)
    mine = names["Mine"](encoder=Frozen(build(Shape(patch=42))), actions=task.action_count)
    task.attach(mine)
    seen = mine.observe(torch.from_numpy(task.envs.screens))
    action = mine.act(seen, torch.Generator(), step=0)
    assert task.envs.step(action.numpy()).reward.shape == (2,)
    batch = Transitions(seen, action, torch.ones(2), torch.ones(2), seen)
    assert [loss.shape for loss in mine.losses(batch).values()] == [()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "played"), [pytest.param(3, 0, marks=pytest.mark.evidence), (34, 58)]
)
def test_environments_that_die_end_the_run_in_one_line_and_it_goes_on(
    step: int, played: int, tmp_path: Path, command: Callable[..., int],
    failing: Callable[..., None], capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    """While features are measured, which takes four steps, and in the fourth of six rollouts of
    16 steps; the run then ends as if they had never died."""

    def fit(run: Path) -> int:
        return command(
            *("fit", "-c", CONFIG, "--run", run, "--data.total_steps", 96, "--data.num_envs", 2),
            *("--model.init_args.num_steps", 8, "--model.init_args.hidden", 16),
            *("--model.init_args.features", "{norm: standard, norm_samples: 8}"),
            *("--checkpoint_every", 5),
        )

    failing(RuntimeError("the thread is gone\nat 0x7f"), step)
    assert fit(tmp_path / "dies") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    said_of = f"the environments of pong died after {played} agent steps (the thread is gone): run"
    assert said_of in said
    assert not played or read_run(tmp_path / "dies").state == "failed"
    assert fit(tmp_path / "dies") == fit(tmp_path / "whole") == 0
    ours, theirs = (
        torch.load(newest(tmp_path / name / "checkpoints"), weights_only=True)["state_dict"]
        for name in ("dies", "whole")
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_task_says_how_its_game_is_played_in_the_words_of_recordings() -> None:
    task = AtariTask("pong", 1, total_steps=1, frame_skip=2, mode=1, difficulty=1, sticky=0.5)
    assert task.settings == {"sticky": 0.5, "frame_skip": 2, "mode": 1, "difficulty": 1}
