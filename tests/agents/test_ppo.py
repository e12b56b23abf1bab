"""PPO's losses by hand, and what its rollouts hold."""

from __future__ import annotations

from math import log, sqrt

import pytest
import torch

from fovea.agents.adaptation.base import Frozen
from fovea.agents.algorithms.ppo import PPO
from fovea.agents.experience.on_policy import Samples
from fovea.agents.task import AtariTask
from fovea.pretrain.encoders.vit import Shape, build


def agent(actions: int, value: float, **settings) -> PPO:
    """All actions alike, all states worth `value`."""
    ppo = PPO(encoder=Frozen(build(Shape(patch=42))), actions=actions, hidden=4, **settings)
    for layer in (ppo.policy, ppo.value):
        torch.nn.init.zeros_(layer.weight)
    torch.nn.init.constant_(ppo.value.bias, value)
    return ppo


def test_the_losses_worked_by_hand() -> None:
    """Ratios 1.25 (clipped to 1.1) and 0.8 (to 0.9); normalised advantages +-1 / sqrt(2).

    Values moved from 0.2 to 0.5 (clipped to 0.3) and not at all.
    """
    ppo = agent(2, 0.5, clip_coef=0.1, vf_coef=0.5, ent_coef=0.01)
    batch = Samples(
        obs=torch.zeros(2, 192),
        action=torch.tensor([0, 1]),
        logp=torch.tensor([0.4, 0.625]).log(),
        value=torch.tensor([0.2, 0.5]),
        advantage=torch.tensor([3.0, 1.0]),
        target=torch.tensor([1.0, 0.0]),
    )
    losses = {name: value.item() for name, value in ppo.losses(batch).items()}
    assert losses == pytest.approx({
        "policy": -(1.1 - 0.9) / sqrt(2) / 2,
        "value": 0.5 * 0.5 * (0.7**2 + 0.5**2) / 2,
        "entropy": -0.01 * log(2),
    })  # fmt: skip
    ppo.clip_vloss = False
    assert ppo.losses(batch)["value"].item() == pytest.approx(0.5 * 0.5 * 0.5**2)


def test_actions_are_drawn_with_their_probabilities() -> None:
    ppo = agent(3, 0)
    logp = torch.tensor([0.6, 0.3, 0.1]).log().expand(20_000, 3)
    drawn = ppo.sample(logp, torch.Generator().manual_seed(0))
    shares = drawn.bincount(minlength=3) / len(drawn)
    torch.testing.assert_close(shares, logp[0].exp(), rtol=0, atol=0.015)


@pytest.fixture
def task() -> AtariTask:
    return AtariTask("pong", num_envs=2, total_steps=16, max_frames=20, noop_max=0)


def test_a_cut_episode_is_worth_what_its_last_screens_are(task: AtariTask) -> None:
    """Cut after 5 steps without a reward; 8 steps a rollout; all states are worth 2."""
    ppo = agent(task.action_count, 2.0, num_steps=8, gamma=0.5, gae_lambda=1.0)
    task.attach(ppo)
    rollout = task.experience.collect()
    left = torch.tensor([5, 4, 3, 2, 1, 3, 2, 1])  # steps to the cut, or the rollout's end
    target = (2 * 0.5**left).repeat_interleave(2)
    torch.testing.assert_close(rollout.target, target)
    torch.testing.assert_close(rollout.advantage, target - 2)
    torch.testing.assert_close(rollout.logp, torch.full((16,), -log(task.action_count)))


def test_the_return_that_followed_an_action_is_learnt_beside(task: AtariTask) -> None:
    """As above the target of the value with lambda 1, whatever lambda the advantages have."""
    ppo = agent(task.action_count, 2.0, num_steps=8, gamma=0.5, gae_lambda=0.0, return_coef=0.5)
    torch.nn.init.zeros_(ppo.returns.weight)
    torch.nn.init.constant_(ppo.returns.bias, 0.5)
    task.attach(ppo)
    rollout = task.experience.collect()
    left = torch.tensor([5, 4, 3, 2, 1, 3, 2, 1])
    target = (2 * 0.5**left).repeat_interleave(2)
    torch.testing.assert_close(rollout.to_go, target)
    torch.testing.assert_close(rollout.target, torch.full((16,), 1.0))
    lost = ppo.losses(rollout)["return"]
    assert lost.item() == pytest.approx(0.5 * 0.5 * (0.5 - target).square().mean().item())
    assert "returns.weight" not in agent(task.action_count, 2.0).state_dict()


def test_an_epoch_holds_every_step_once(task: AtariTask) -> None:
    ppo = agent(task.action_count, 2.0, num_steps=8, update_epochs=2, num_minibatches=4)
    task.attach(ppo)
    assert len(task.experience) == 8
    batches = list(task.experience)
    rollout = task.experience.rollout
    for epoch in (batches[:4], batches[4:]):
        assert [len(batch.action) for batch in epoch] == [4, 4, 4, 4]
        seen = torch.cat([batch.obs for batch in epoch])
        assert {row.numpy().tobytes() for row in seen} == {
            row.numpy().tobytes() for row in rollout.obs
        }
        assert torch.cat([batch.target for batch in epoch]).sum() == pytest.approx(
            rollout.target.sum().item()
        )
    assert task.experience.played == 16
