"""Experience for agents that learn from a replay: play a little, draw a batch, and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from agents.experience import BATCHES, Experience
from agents.replay import Replay, Transitions
from atari.command import UserError
from pretrain.draws import keyed

if TYPE_CHECKING:
    from agents.agent import Agent
    from agents.play import Play


class Replayed(Experience):
    """Batches of transitions drawn from a replay.

    Args:
        play, agent: who plays what.
        size: agent steps that are remembered.
        batch: transitions a batch.
        n_step: steps of reward before the value of what follows.
        gamma: discount.
        warmup: agent steps before the first update.
        steps_per_update: agent steps between two updates.
    """

    def __init__(
        self,
        play: Play,
        agent: Agent,
        size: int,
        batch: int,
        n_step: int,
        gamma: float,
        warmup: int,
        steps_per_update: float,
    ):
        super().__init__(play, agent)
        self.batch_size, self.n_step, self.gamma = batch, n_step, gamma
        self.warmup, self.steps_per_update = warmup, steps_per_update
        least = self.envs.num_envs * (n_step + play.stack + 1)
        if min(warmup, size) < least:
            raise UserError(
                f"a warm-up of {warmup} steps and a replay of {size} hold no window of {n_step} "
                f"steps of {self.envs.num_envs} environments: make both at least {least}"
            )
        if play.steps < warmup + steps_per_update:
            raise UserError(
                f"data.steps {play.steps} ends before the warm-up of {warmup} steps does: "
                "play longer, or warm up for fewer steps"
            )
        self.updates = int((play.steps - warmup) / steps_per_update)
        frozen = agent.eyes.encoder.frozen
        seen = agent.eyes.observe(torch.from_numpy(self.envs.reset()[:1]))[0]
        row = seen if frozen else seen[-1]
        self.replay = Replay(size, self.envs.num_envs, row, stack=0 if frozen else play.stack)

    def batch(self, update: int) -> Transitions:
        self.agent.eyes.encoder.settle()
        due = self.warmup + (update + 1) * self.steps_per_update
        while self.played < due:
            self.advance()
        generator = keyed("cpu", self.play.seed, update, BATCHES)
        return self.replay.sample(self.batch_size, self.n_step, self.gamma, generator)

    def advance(self) -> None:
        """Act once everywhere and remember it."""
        if self.fresh:
            self.begin()
            if self.replay.rows:
                self.replay.cut()
            self.first = torch.ones(self.envs.num_envs, dtype=torch.bool)
        observed = self.observed
        action = self.agent.act(observed, explore=True, generator=self.draws())
        step = self.step(action)
        self.replay.append(
            observed=observed[:, -1] if self.replay.stack else observed,
            action=action,
            reward=self.rewards(step),
            terminal=torch.from_numpy(step.terminal),
            cut=torch.from_numpy(step.truncated),
            first=self.first,
        )
        self.first = torch.from_numpy(step.ended)

    def state_dict(self) -> dict:
        return super().state_dict() | {"replay": self.replay.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.replay.load_state_dict(state["replay"])
