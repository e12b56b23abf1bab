"""Contexts of episodes: how they are chosen, by hand; played, saved and taken over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fovea.agents.curriculum import FAST, PRETEST, SLOW, STAGE, Curriculum, Earlier
from fovea.agents.fit import fit
from fovea.agents.task import AtariTask, earlier_curriculum
from fovea.atari.env import Envs
from fovea.command import UserError
from fovea.metrics import read_metrics

TWO = [{"sticky": 0.0}, {"sticky": 0.9}]


def test_chances_are_a_share_of_the_progress_by_hand() -> None:
    """Scores of 0 then 1 in the first context, always 0.5 in the second."""
    found = Curriculum(TWO, "alp", low=-10, high=10)
    assert found.chances().tolist() == [0.5, 0.5]
    for total in (-10.0, 10.0):
        found.scored(0, total)
        found.scored(1, 0.0)
    assert found.fast.tolist() == pytest.approx([FAST, 0.5])
    assert found.slow.tolist() == pytest.approx([SLOW, 0.5])
    assert found.chances() == pytest.approx([0.8 + 0.1, 0.1])
    found.scored(1, 10.0)
    progress = np.array([FAST - SLOW, 0.5 * (FAST - SLOW)])
    assert found.chances() == pytest.approx(0.8 * progress / progress.sum() + 0.1)
    assert [found.next(share, 0) for share in (0.0, 0.6, 0.7, 0.999)] == [0, 0, 1, 1]
    even = Curriculum(TWO, "uniform", 0, 1)
    even.scored(0, 5.0)
    assert even.chances().tolist() == [0.5, 0.5]
    assert [Curriculum(TWO, "round_robin", 0, 1).next(0.3, n) for n in range(4)] == [0, 1, 0, 1]


def test_the_nearest_earlier_run_is_followed_after_a_pretest() -> None:
    near = Earlier(np.array([0.1, np.nan]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    far = Earlier(np.array([0.8, 0.9]), np.array([[0.0, 1.0]]))
    found = Curriculum(TWO, "alp", 0, 1, [far, near])
    for _ in range(PRETEST):
        assert found.chances().tolist() == [0.5, 0.5]
        found.scored(0, 0.2)
    assert found.pretest[0] == pytest.approx(0.2)
    assert found.nearest() == 1
    assert found.chances() == pytest.approx([0.7, 0.3])  # no progress: the half of even
    for _ in range(STAGE):
        found.scored(0, 0.2)
    assert found.chances() == pytest.approx([0.35, 0.65])
    for _ in range(STAGE):
        found.scored(0, 0.2)
    assert found.chances().tolist() == [0.5, 0.5]  # it went no further
    assert found.stages.shape == (3, 2)


@pytest.mark.slow
def test_episodes_are_played_in_their_contexts_and_a_saved_state_goes_on() -> None:
    """Episodes of 12 steps; sticky actions of 0.9 are seen in what happens."""
    same = {"seed": 3, "noop_max": 3, "max_frames": 48, "sticky": 0.0}

    def envs(way: str) -> Envs:
        return Envs("breakout", 2, **same, contexts=Curriculum(TWO, way, 0, 10))

    whole, other = envs("alp"), envs("alp")
    actions = np.random.default_rng(0).integers(0, 4, (60, 2))
    for action in actions[:30]:
        whole.step(action)
    other.load_state(whole.state())
    for action in actions[30:]:
        one, two = whole.step(action), other.step(action)
        assert np.array_equal(one.screens, two.screens)
    ours, theirs = whole.state(), other.state()
    assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours)
    assert whole.contexts.ended == 10
    in_turn = envs("round_robin")
    plain = Envs("breakout", 2, **same)
    assert in_turn._context.tolist() == [0, 1]
    seen = [(in_turn.step(action).screens, plain.step(action).screens) for action in actions[:11]]
    assert all(np.array_equal(one[0], two[0]) for one, two in seen)
    assert not all(np.array_equal(one[1], two[1]) for one, two in seen)


@pytest.mark.evidence
@pytest.mark.slow
def test_a_run_leaves_its_curriculum_to_another(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    names = ["sticky:0", "sticky:0.9", "difficulty:1"]
    common = ["--model", "PPO", "--model.encoder", "Frozen", "--model.encoder.encoder",
              "random:patches42", "--model.num_steps", "32", "--model.hidden", "8", "--data.game",
              "pong", "--data.num_envs", "2", "--data.max_frames", "16", "--data.contexts",
              f"[{', '.join(names)}]", "--trainer.log_every_n_steps", "16"]  # fmt: skip
    fit([*common, "--data.total_steps", "192", "--run", str(first)])
    left = earlier_curriculum(first, names)
    assert left.chances.shape == (2, 3)  # 48 episodes of 4 steps
    assert left.chances.sum(axis=1) == pytest.approx([1, 1])
    logged = read_metrics(first / "metrics.csv")
    assert {f"context/{name}" for name in names} <= logged.keys()
    fit([*common, "--data.total_steps", "64", "--data.curriculum_from", str(first), "--run",
         str(second)])  # fmt: skip
    task = AtariTask("pong", num_envs=1, total_steps=8, contexts=names, curriculum_from=str(first))
    assert task.envs.contexts.earlier[0].chances.tolist() == left.chances.tolist()
    with pytest.raises(UserError, match=r"no agent that learnt in the contexts \['sticky:0'\]"):
        AtariTask("pong", contexts=["sticky:0"], curriculum_from=str(first))


def test_contexts_are_settings_of_the_game() -> None:
    with pytest.raises(UserError, match="noise:2 changes screens, and contexts are of sticky"):
        AtariTask("pong", num_envs=1, contexts=["sticky:0", "noise:2"])
    with pytest.raises(UserError, match="pong has no mode 7"):
        AtariTask("pong", num_envs=1, contexts=["mode:7"])
