"""What an agent learns from: a sized loader that plays as it goes.

A batch is a function of (seed, step) and of the agents that played before. A checkpoint holds the
state of every emulator, so that a run that goes on from it is the run that was never stopped, and
how often one is written changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from fovea.atari.env import Envs, Step
from fovea.command import UserError
from fovea.seeding import Stream, key, keyed


class Task(Protocol):
    """What experience needs to know of a game; `fovea.agents.task.AtariTask` is one."""

    game: str
    total_steps: int
    """Agent steps in all, over all environments."""
    stack: int
    """Screens in an observation."""
    clip_rewards: bool
    """Whether rewards are clipped to [-1, 1]."""
    seed: int
    strict: bool
    """Whether recordings of another protocol are refused, and not remarked alone."""
    folder: Path
    """Of the run, for what is too large for memory."""
    envs: Envs

    @property
    def settings(self) -> Mapping[str, object]:
        """How the game is played, in the words of `fovea.atari.emulator.Settings`."""

    @property
    def life_loss_terminal(self) -> bool:
        """Whether a lost life counts as the end of an episode."""


class Actor(Protocol):
    """What experience asks of an agent; `fovea.agents.algorithms.base.Agent` is one."""

    schedule_steps: int | None
    """Updates that schedules are stretched over, where it is not the whole run."""

    @property
    def device(self) -> torch.device: ...

    @property
    def stores_features(self) -> bool:
        """Whether `observe` returns features, where it would else return the screens."""

    def observe(self, screens: Tensor) -> Tensor:
        """What is stored of screens (N, stack, H, W) uint8: N rows on the same device."""

    def act(self, obs: Tensor, generator: torch.Generator, step: int | None = None) -> Tensor:
        """(N,) actions for what `observe` returned, to explore by after `step` agent steps."""

    def on_collect_start(self) -> None:
        """Called before experience is collected."""


class ActorCritic(Actor, Protocol):
    """An actor with a policy and a value, whose rollouts are learnt from."""

    def policy_and_value(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (N, actions) and values (N,) of what `observe` returned."""

    def sample(self, logp: Tensor, generator: torch.Generator) -> Tensor:
        """(N,) actions drawn with the log-probabilities (N, actions)."""


class Episode(NamedTuple):
    """An episode that ended in training."""

    step: int
    """Agent steps that all environments had played when it ended; unique to it."""
    total: float
    """Raw return."""
    length: int
    """In agent steps of its environment."""


class Experience:
    """Steps the environments of a task with an agent and yields batches.

    A subclass says how many updates there are and makes the batch of each.

    Args:
        task: the game.
        agent: who plays and learns.

    Attributes:
        played: agent steps so far, over all environments.
        done: updates so far.
        data: SHA-256 of each recording that is learnt from, by game.
        episodes: those that ended and that nobody has taken out yet.
        watch: called with `played` after every step of the environments.
    """

    updates: int
    heavy: tuple[str, ...] = ()
    """Entries of its state that are large, and that only a run which goes on needs."""

    def __init__(self, task: Task, agent: Actor):
        self.task, self.agent, self.envs = task, agent, task.envs
        self.played = self.done = 0
        self._obs: Tensor | None = None
        self.episodes: list[Episode] = []
        self.data: dict[str, str] = {}
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

    @property
    def obs(self) -> Tensor:
        """The observations to act on next, N rows of what the agent's `observe` returned."""
        if self._obs is None:
            if not self.played:
                self.envs.restart(key(Stream.EPISODES, self.task.seed, self.played))
            self._obs = self.observe(self.envs.screens)
        return self._obs

    def forget_observations(self) -> None:
        """Observe again what is seen now: the agent has moved to another device."""
        self._obs = None

    def random_observations(self, screens: int) -> Iterator[Tensor]:
        """At least so many screens (N, stack, 84, 84) uint8 of random play, as batches.

        Nothing is learnt from them, and they are no steps of the run.
        """
        count = self.envs.num_envs
        generator = keyed("cpu", Stream.NORM_ACTIONS, self.task.seed)
        seen = self.envs.restart(key(Stream.NORM_EPISODES, self.task.seed))
        for _ in range(-(-screens // count)):
            yield torch.from_numpy(seen).to(self.agent.device)
            actions = torch.randint(self.envs.action_count, (count,), generator=generator)
            seen = self.emulate(actions).screens

    def action_generator(self) -> torch.Generator:
        """The randomness of the next actions, as a function of the seed and the steps played."""
        return keyed("cpu", Stream.ACTIONS, self.task.seed, self.played)

    def emulate(self, actions: Tensor) -> Step:
        """Act once in every environment; actions (N,).

        Raises UserError where the emulator fails.
        """
        try:
            return self.envs.step(actions.cpu().numpy())
        except RuntimeError as fault:
            raise UserError(
                f"the environments of {self.task.game} died after {self.played:,} agent steps "
                f"({str(fault).splitlines()[0]}): run the same command again to go on from the "
                "last checkpoint"
            ) from fault

    def step(self, actions: Tensor) -> Step:
        """Act once in every environment and count it; `obs` are then the next observations."""
        step = self.emulate(actions)
        for env, total, length in zip(
            np.flatnonzero(step.ended), step.returns, step.lengths, strict=True
        ):
            self.episodes.append(Episode(self.played + int(env) + 1, float(total), int(length)))
        self.played += self.envs.num_envs
        self._obs = self.observe(step.screens)
        self.watch(self.played)
        return step

    def observe(self, screens: np.ndarray) -> Tensor:
        """What is stored of screens (N, stack, 84, 84) uint8, on the agent's device."""
        return self.agent.observe(torch.from_numpy(screens).to(self.agent.device))

    def rewards(self, step: Step) -> Tensor:
        """(N,) float32 rewards to learn from."""
        return torch.from_numpy(step.reward.clip(-1, 1) if self.task.clip_rewards else step.reward)

    def state_dict(self) -> dict:
        """What a checkpoint holds."""
        envs = {name: torch.from_numpy(array) for name, array in self.envs.state().items()}
        return {"played": self.played, "done": self.done, "envs": envs}

    def load_state_dict(self, state: dict) -> None:
        self.played, self.done = state["played"], state["done"]
        if self.played:
            self.envs.load_state({name: array.numpy() for name, array in state["envs"].items()})
        self._obs = None
