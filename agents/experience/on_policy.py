"""Experience for agents that learn from what they have just played, a few times over."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from fovea.agents.experience.base import Experience
from fovea.agents.experience.returns import gae
from fovea.command import UserError
from fovea.seeding import Stream, keyed

if TYPE_CHECKING:
    from fovea.agents.algorithms.ppo import PPO
    from fovea.agents.task import Play


class Samples(NamedTuple):
    """Steps of a rollout, each (B, ...)."""

    observed: Tensor
    """(B, stack, H, W) uint8, or features: (B, F), of tokens (B, N, D)."""
    action: Tensor
    logp: Tensor
    """Log-probability of the action under the policy that played."""
    value: Tensor
    """Value of the observation as the agent that played judged it."""
    advantage: Tensor
    wanted: Tensor
    """Target of the value."""


class Rollouts(Experience):
    """Minibatches of rollouts.

    Args:
        play, agent: who plays what.
        length: T, steps of each environment a rollout.
        epochs: passes over a rollout.
        minibatches: batches a pass.
        gamma, lam: see `experience.returns.gae`.
    """

    def __init__(
        self,
        play: Play,
        agent: PPO,
        length: int,
        epochs: int,
        minibatches: int,
        gamma: float,
        lam: float,
    ):
        super().__init__(play, agent)
        self.length, self.minibatches = length, minibatches
        self.gamma, self.lam = gamma, lam
        self.batches = epochs * minibatches  # of a rollout
        steps = length * self.envs.num_envs
        if play.steps < steps:
            raise UserError(
                f"data.steps {play.steps} is less than one rollout of {length} steps of "
                f"{self.envs.num_envs} environments: make it at least {steps}"
            )
        if steps < 2 * minibatches:
            raise UserError(
                f"{minibatches} minibatches of a rollout of {steps} steps leave less than two "
                "steps to each: take fewer, or longer rollouts"
            )
        self.updates = play.steps // steps * self.batches
        self.rollout: Samples | None = None

    def batch(self, update: int) -> Samples:
        number, place = divmod(update, self.batches)
        if place == 0:
            self.rollout = self.collect()
        epoch, minibatch = divmod(place, self.minibatches)
        generator = keyed("cpu", Stream.BATCHES, self.play.seed, number, epoch)
        order = torch.randperm(len(self.rollout.action), generator=generator)
        picked = order[minibatch :: self.minibatches].to(self.rollout.action.device)
        return Samples(*(field[picked] for field in self.rollout))

    @torch.no_grad()
    def collect(self) -> Samples:
        """Play T steps everywhere; (T * N, ...) with the steps of all environments in turn."""
        self.agent.eyes.encoder.settle()
        if self.fresh:
            self.begin()
        observed, judged, actions, rewards, ends = [], [], [], [], []
        for _ in range(self.length):
            observed.append(self.observed)
            logp, value = self.agent.judge(self.observed)
            action = self.agent.draw(logp, self.draws())
            judged.append((logp.gather(1, action[:, None])[:, 0], value))
            step = self.step(action)
            reward = self.rewards(step)
            if step.truncated.any():
                # The episode would have gone on: its last value stands for the rest.
                _, value = self.agent.judge(self.observe(step.final_screens))
                reward = reward + self.gamma * value.cpu() * torch.from_numpy(step.truncated)
            actions.append(action)
            rewards.append(reward)
            ends.append(torch.from_numpy(step.terminal | step.truncated))
        device = self.agent.device
        action, reward, end = (torch.stack(x).to(device) for x in (actions, rewards, ends))
        logp, values = (torch.stack(x) for x in zip(*judged, strict=True))
        _, after = self.agent.judge(self.observed)
        starts = torch.cat([torch.zeros_like(end[:1]), end])  # starts[0] is never looked at
        advantage = gae(reward, values, starts[:-1], after, starts[-1], self.gamma, self.lam)
        fields = (
            torch.stack(observed),
            action,
            logp,
            values,
            advantage,
            advantage + values,
        )
        return Samples(*(field.flatten(0, 1) for field in fields))

    def state_dict(self) -> dict:
        unfinished = self.rollout is not None and self.done % self.batches
        rollout = self.rollout._asdict() if unfinished else None
        return super().state_dict() | {"rollout": rollout}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        if held := state["rollout"]:
            device = self.agent.device
            self.rollout = Samples(**{name: field.to(device) for name, field in held.items()})
