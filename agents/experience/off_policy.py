"""Experience for agents that learn from a replay: play a little, draw a batch, and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fovea.agents.experience.base import Experience
from fovea.agents.experience.priorities import Priorities
from fovea.agents.experience.replay import Replay, Transitions
from fovea.command import UserError
from fovea.seeding import Stream, keyed

if TYPE_CHECKING:
    from fovea.agents.algorithms.dqn import DQN
    from fovea.agents.task import Play


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
        priority: exponent of prioritised replay; 0 draws uniformly.
        importance: of its weights at first; it grows to 1 over the run.
        mapped: hold what was observed in a file in the run folder.
    """

    def __init__(
        self,
        play: Play,
        agent: DQN,
        size: int,
        batch: int,
        n_step: int,
        gamma: float,
        warmup: int,
        steps_per_update: float,
        priority: float = 0.0,
        importance: float = 0.4,
        mapped: bool = False,
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
        row, stack = (seen, 0) if frozen else (seen[-1], play.stack)
        folder = play.folder if mapped else None
        self.replay = Replay(size, self.envs.num_envs, row, stack, folder)
        self.priorities = Priorities(self.replay, n_step, priority) if priority else None
        self.importance = importance
        self.drawn: tuple[Tensor, Tensor] | None = None

    def batch(self, update: int) -> Transitions:
        self.learn_errors()
        self.agent.eyes.encoder.settle()
        due = self.warmup + (update + 1) * self.steps_per_update
        while self.played < due:
            self.advance()
        generator = keyed("cpu", Stream.BATCHES, self.play.seed, update)
        if not self.priorities:
            return self.replay.sample(self.batch_size, self.n_step, self.gamma, generator)
        share = min(1, update / (self.agent.schedule_steps or self.updates))
        importance = self.importance + (1 - self.importance) * share
        *self.drawn, weight = self.priorities.draw(self.batch_size, importance, generator)
        transitions = self.replay.transitions(*self.drawn, self.n_step, self.gamma)
        return transitions._replace(weight=weight)

    def learn_errors(self) -> None:
        """Take over how wrong the agent was about the last batch."""
        if self.drawn:
            self.priorities.learn(*self.drawn, self.agent.errors.cpu())
            self.drawn = None

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
        if self.priorities:
            self.priorities.appended()
        self.first = torch.from_numpy(step.ended)

    def state_dict(self) -> dict:
        self.learn_errors()
        state = super().state_dict() | {"replay": self.replay.state_dict()}
        return state | ({"priorities": self.priorities.state_dict()} if self.priorities else {})

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.replay.load_state_dict(state["replay"])
        if self.priorities:
            self.priorities.load_state_dict(state["priorities"])
