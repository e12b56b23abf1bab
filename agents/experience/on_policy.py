"""Experience for agents that learn from what they have just played, a few times over."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fovea.agents.experience.base import ActorCritic, Experience, Task
from fovea.agents.experience.returns import gae
from fovea.command import UserError
from fovea.seeding import Stream, keyed


class Samples(NamedTuple):
    """Steps of a rollout, each (B, ...)."""

    obs: Tensor
    """(B, stack, H, W) uint8, or what an agent stores of it: features (B, F), tokens (B, N, D)."""
    action: Tensor
    logp: Tensor
    """Log-probability of the action under the policy that played."""
    value: Tensor
    """Value of the observation by the agent that played."""
    advantage: Tensor
    target: Tensor
    """Target of the value."""
    to_go: Tensor = torch.zeros(0)
    """Discounted return to the rollout's end, with the value of what follows it; where it is asked
    for."""


class OnPolicy(Experience):
    """Minibatches of rollouts.

    Args:
        task: the game.
        agent: who plays.
        num_steps: T, steps of each environment in a rollout.
        update_epochs: passes over a rollout.
        num_minibatches: batches in a pass.
        gamma: discount.
        gae_lambda: see `experience.returns.gae`.
        with_returns: whether samples have `to_go`.
    """

    agent: ActorCritic

    def __init__(
        self,
        task: Task,
        agent: ActorCritic,
        num_steps: int,
        update_epochs: int,
        num_minibatches: int,
        gamma: float,
        gae_lambda: float,
        with_returns: bool = False,
    ):
        super().__init__(task, agent)
        self.num_steps, self.num_minibatches = num_steps, num_minibatches
        self.gamma, self.gae_lambda, self.with_returns = gamma, gae_lambda, with_returns
        self.batches = update_epochs * num_minibatches  # of a rollout
        steps = num_steps * self.envs.num_envs
        if task.total_steps < steps:
            raise UserError(
                f"data.total_steps {task.total_steps} is less than one rollout of {num_steps} "
                f"steps of {self.envs.num_envs} environments: make it at least {steps}"
            )
        if steps < 2 * num_minibatches:
            raise UserError(
                f"{num_minibatches} minibatches of a rollout of {steps} steps leave less than two "
                "steps to each: take fewer, or longer rollouts"
            )
        self.updates = task.total_steps // steps * self.batches
        self.rollout: Samples | None = None

    def batch(self, update: int) -> Samples:
        number, place = divmod(update, self.batches)
        if place == 0:
            self.rollout = self.collect()
        rollout = self.rollout
        assert rollout, "an update that is not a rollout's first has one"
        epoch, minibatch = divmod(place, self.num_minibatches)
        generator = keyed("cpu", Stream.BATCHES, self.task.seed, number, epoch)
        order = torch.randperm(len(rollout.action), generator=generator)
        picked = order[minibatch :: self.num_minibatches].to(rollout.action.device)
        return Samples(*(field[picked] if len(field) else field for field in rollout))

    @torch.no_grad()
    def collect(self) -> Samples:
        """Play T steps everywhere; (T * N, ...), the steps of all environments in turn."""
        self.agent.on_collect_start()
        obs, logps, values, actions, rewards, ends = [], [], [], [], [], []
        for _ in range(self.num_steps):
            obs.append(self.obs)
            logp, value = self.agent.policy_and_value(self.obs)
            action = self.agent.sample(logp, self.action_generator())
            step = self.step(action)
            reward = self.rewards(step)
            if step.truncated.any() and step.final_screens is not None:
                # The episode would have gone on: the value of its last screens stands for the rest.
                _, after = self.agent.policy_and_value(self.observe(step.final_screens))
                reward = reward + self.gamma * after.cpu() * torch.from_numpy(step.truncated)
            logps.append(logp.gather(1, action[:, None])[:, 0])
            values.append(value)
            actions.append(action)
            rewards.append(reward)
            ends.append(torch.from_numpy(step.terminal | step.truncated))
        device = self.agent.device
        action, reward, end = (torch.stack(x).to(device) for x in (actions, rewards, ends))
        logp, value = torch.stack(logps), torch.stack(values)
        _, after = self.agent.policy_and_value(self.obs)
        starts = torch.cat([torch.zeros_like(end[:1]), end])  # starts[0] is never looked at
        advantage = gae(reward, value, starts[:-1], after, starts[-1], self.gamma, self.gae_lambda)
        fields = [torch.stack(obs), action, logp, value, advantage, advantage + value]
        if self.with_returns:
            whole = gae(reward, value, starts[:-1], after, starts[-1], self.gamma, 1.0)
            fields.append(whole + value)
        return Samples(*(field.flatten(0, 1) for field in fields))

    def state_dict(self) -> dict:
        unfinished = self.done % self.batches
        rollout = self.rollout._asdict() if self.rollout and unfinished else None
        return super().state_dict() | {"rollout": rollout}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        if held := state["rollout"]:
            device = self.agent.device
            self.rollout = Samples(**{name: field.to(device) for name, field in held.items()})
