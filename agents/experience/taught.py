"""Experience for an agent that learns from another one: screens, and what the teacher says of each.

Both play: the teacher first, so that lessons begin where it would be, then the pupil, so that they
are of what the pupil meets (Ross et al. 2011, DAgger, arXiv 1011.0686).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from fovea.agents.experience.base import Actor, Task
from fovea.agents.experience.replayed import Replayed
from fovea.seeding import Stream, keyed


class Lessons(NamedTuple):
    """What a teacher says of observations."""

    obs: Tensor
    """(B, stack, H, W) uint8, or what the pupil stores of it: features (B, F), tokens (B, N, D)."""
    scores: Tensor
    """(B, actions) the teacher's: values, or log-probabilities."""
    value: Tensor
    """(B,) what the observation is worth to the teacher."""


class Teacher(Protocol):
    """Who is learnt from."""

    def act(self, screens: Tensor, generator: torch.Generator) -> Tensor:
        """(N,) its actions on screens (N, stack, H, W) uint8."""

    def scores_and_value(self, screens: Tensor) -> tuple[Tensor, Tensor]:
        """(N, actions) and (N,) of screens (N, stack, H, W) uint8."""


class Taught(Replayed):
    """Batches of observations with what a teacher says of them.

    Args:
        task: the game.
        agent: the pupil.
        make_teacher: makes the teacher once the device is known.
        buffer_size: agent steps that are held.
        batch_size: observations a batch.
        learning_starts: agent steps before the first update, played by the teacher.
        train_freq: agent steps between two updates; below 1, several updates a step.
    """

    def __init__(
        self,
        task: Task,
        agent: Actor,
        make_teacher: Callable[[torch.device], Teacher],
        buffer_size: int,
        batch_size: int,
        learning_starts: int,
        train_freq: float,
    ):
        super().__init__(task, agent, buffer_size, 1, learning_starts, train_freq)
        self.make_teacher = make_teacher
        self.made: tuple[torch.device, Teacher] | None = None
        self.batch_size = batch_size

    @property
    def teacher(self) -> Teacher:
        """The teacher, on the pupil's device."""
        if self.made is None or self.made[0] != self.agent.device:
            self.made = self.agent.device, self.make_teacher(self.agent.device)
        return self.made[1]

    def batch(self, update: int) -> Lessons:
        self.play_until_due(update)
        generator = keyed("cpu", Stream.BATCHES, self.task.seed, update)
        row, env = self.replay.draw(self.batch_size, 1, generator)
        held = {
            name: self.replay.held[name][row % self.replay.length, env]
            for name in ("scores", "value")
        }
        return Lessons(self.replay.observation(row, env), **held)

    @torch.no_grad()
    def advance(self) -> None:
        """Act once in every environment, and store what was seen and what the teacher says."""
        obs, screens = self.obs, torch.from_numpy(self.envs.screens).to(self.agent.device)
        scores, value = self.teacher.scores_and_value(screens)
        generator = self.action_generator()
        if self.played < self.learning_starts:
            action = self.teacher.act(screens, generator)
        else:
            action = self.agent.act(obs, generator, self.played)
        says = {"scores": scores.cpu().float(), "value": value.cpu().float()}
        self.store(obs, action, self.step(action), **says)
