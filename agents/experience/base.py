"""What an agent learns from: a sized loader that plays as it goes.

A batch is a function of (seed, step) and of the agents that played before. Whenever a checkpoint
is written every environment starts a fresh episode, so that no emulator's state needs saving and a
run that goes on from the checkpoint is the run that was never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fovea.command import UserError
from fovea.seeding import Stream, key, keyed

if TYPE_CHECKING:
    from fovea.agents.algorithms.base import Agent
    from fovea.agents.task import Play
    from fovea.atari.env import Step


class Episode(NamedTuple):
    """An episode that ended in training."""

    step: int
    """Agent steps that all environments had played when it ended, and unique to it."""
    total: float
    """Raw return."""
    length: int
    """In agent steps of its environment."""


class Experience:
    """Steps the environments of `play` with `agent` and yields batches.

    A subclass says how many updates there are and makes the batch of each.

    Attributes:
        played: agent steps so far, over all environments.
        done: updates so far.
        observed: what to act on next, N rows (see `Eyes.observe`).
        episodes: those that ended and that nobody has taken out yet.
        watch: called with `played` after every step of the environments.
    """

    updates: int

    def __init__(self, play: Play, agent: Agent):
        self.play, self.agent, self.envs = play, agent, play.envs
        self.played = self.done = 0
        self.fresh = True
        self.episodes: list[Episode] = []
        self.watch: Callable[[int], None] = lambda played: None

    def batch(self, update: int) -> NamedTuple:
        """Play what update number `update` needs and make its batch."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.updates

    def __iter__(self) -> Iterator[NamedTuple]:
        for update in range(self.done, self.updates):
            batch = self.batch(update)
            self.done = update + 1
            yield batch

    def begin(self) -> None:
        """Start fresh episodes everywhere, as a function of the seed and the steps played."""
        episodes = key(Stream.EPISODES, self.play.seed, self.played)
        self.observed = self.observe(self.envs.restart(episodes))
        self.fresh = False

    def glance(self, screens: int) -> Iterator[Tensor]:
        """At least so many screens (N, stack, 84, 84) uint8 of random play, as batches.

        Nothing is learnt from them, and they are no steps of the run.
        """
        count = self.envs.num_envs
        generator = keyed("cpu", Stream.NORM_ACTIONS, self.play.seed)
        seen = self.envs.restart(key(Stream.NORM_EPISODES, self.play.seed))
        for _ in range(-(-screens // count)):
            yield torch.from_numpy(seen).to(self.agent.device)
            actions = torch.randint(self.envs.action_count, (count,), generator=generator)
            seen = self.emulate(actions).screens

    def draws(self) -> torch.Generator:
        """Every draw for the actions to come, as a function of the seed and the steps played."""
        return keyed("cpu", Stream.ACTIONS, self.play.seed, self.played)

    def emulate(self, actions: Tensor) -> Step:
        """What comes of acting once everywhere, actions (N,).

        Raises UserError where the emulator fails.
        """
        try:
            return self.envs.step(actions.cpu().numpy())
        except RuntimeError as fault:
            raise UserError(
                f"the environments of {self.play.game} died after {self.played:,} agent steps "
                f"({str(fault).splitlines()[0]}): run the same command again to go on from the "
                "last checkpoint"
            ) from fault

    def step(self, actions: Tensor) -> Step:
        """Act once everywhere and keep account of it; `observed` is then what follows."""
        step = self.emulate(actions)
        for env, total, length in zip(
            np.flatnonzero(step.ended), step.returns, step.lengths, strict=True
        ):
            self.episodes.append(Episode(self.played + int(env) + 1, float(total), int(length)))
        self.played += self.envs.num_envs
        self.agent.played = self.played
        self.observed = self.observe(step.screens)
        self.watch(self.played)
        return step

    def observe(self, screens: np.ndarray) -> Tensor:
        """What is held of screens (N, stack, 84, 84) uint8, on the agent's device."""
        return self.agent.eyes.observe(torch.from_numpy(screens).to(self.agent.device))

    def rewards(self, step: Step) -> Tensor:
        """(N,) float32 rewards as they are learnt from."""
        return torch.from_numpy(step.reward.clip(-1, 1) if self.play.clip_rewards else step.reward)

    def state_dict(self) -> dict:
        """What a checkpoint holds. From here on the run is as if it had been loaded."""
        self.fresh = True
        return {"played": self.played, "done": self.done}

    def load_state_dict(self, state: dict) -> None:
        self.played, self.done = state["played"], state["done"]
        self.agent.played = self.played
        self.fresh = True
