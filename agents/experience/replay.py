"""A ring of what was observed and done, from which transitions are drawn.

One row a step of all environments. Of screens only the newest of each stack is held (7,056 bytes a
step); stacks and n-step returns are built when transitions are drawn, never across episodes.
"""

from __future__ import annotations

import os
from functools import cached_property
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fovea.agents.experience.returns import n_step
from fovea.command import UserError
from fovea.memory import free_disk, free_memory

BESIDE = 8  # bytes of a step beside the observation: action, reward and three flags


class Transitions(NamedTuple):
    """Steps and what came of them."""

    observed: Tensor
    """(B, stack, H, W) uint8, or features: (B, F), of tokens (B, N, D)."""
    action: Tensor
    """(B,) int64."""
    reward: Tensor
    """(B,) float32, the discounted sum up to `following`."""
    discount: Tensor
    """(B,) float32, of the value of `following`; 0 where the episode was over by then."""
    following: Tensor
    """Like `observed`."""
    weight: Tensor = torch.ones(1)
    """(B,) float32, of its loss, or (1,)."""
    to_go: Tensor = torch.zeros(1)
    """(B,) float32, the discounted return to the episode's end: known of recordings alone."""


class Replay:
    """The last `size` steps of `envs` environments.

    Args:
        size: steps, over all environments.
        envs: environments.
        row: what is held of one observation, for its shape and dtype: a screen (H, W) uint8 or
            features: (F,), of tokens (N, D).
        stack: screens that make an observation; 0 where features are held.
        folder: what was observed is held in a file there, which is mapped and which is gone when
            the process is; None holds it in memory.

    Attributes:
        rows: steps of each environment so far.

    Raises UserError where it would not fit.
    """

    def __init__(self, size: int, envs: int, row: Tensor, stack: int, folder: Path | None = None):
        self.length, self.envs, self.stack = size // envs, envs, stack
        self.row, self.folder = row, folder
        self.rows = 0
        step = row.numel() * row.element_size()
        if folder:
            _refuse(size, step, free_disk(folder), f" on the disk of {folder}")
            _refuse(size, BESIDE, free_memory(), "")
        else:
            _refuse(size, step + BESIDE, free_memory(), "")

    @cached_property
    def held(self) -> dict[str, Tensor]:
        """Each (length, envs, ...); room is taken only now that something is to be held."""
        shape = (self.length, self.envs)
        seen = (*shape, *self.row.shape)
        return {
            "observed": mapped(self.folder, seen, self.row.dtype)
            if self.folder
            else torch.zeros(seen, dtype=self.row.dtype),
            "action": torch.zeros(shape, dtype=torch.uint8),
            "reward": torch.zeros(shape),
            "terminal": torch.zeros(shape, dtype=torch.bool),
            "cut": torch.zeros(shape, dtype=torch.bool),
            "first": torch.zeros(shape, dtype=torch.bool),
        }

    @property
    def oldest(self) -> int:
        """The first row that is held."""
        return max(0, self.rows - self.length)

    @property
    def start(self) -> int:
        """The first row whose whole stack is held."""
        return self.oldest + (max(self.stack - 1, 0) if self.rows > self.length else 0)

    def append(self, **row: Tensor) -> None:
        """Hold one step of every environment; the oldest goes.

        Args:
            observed: (N, ...), the newest screens or the features that were acted on.
            action, reward: (N,).
            terminal: (N,) bool, nothing follows.
            cut: (N,) bool, the episode was cut after this step: what follows is not held.
            first: (N,) bool, the observation starts an episode.
        """
        for name, held in self.held.items():
            held[self.rows % self.length] = row[name]
        self.rows += 1

    def fill(self, held: dict[str, Tensor]) -> None:
        """Hold `held` alone, each (length, envs, ...) as in `append`, without a copy."""
        self.held = held
        self.length = self.rows = len(held["action"])

    def cut(self) -> None:
        """Say that every episode was cut after the last step."""
        last = (self.rows - 1) % self.length
        self.held["cut"][last] |= ~self.held["terminal"][last]

    def sample(
        self, batch: int, steps: int, gamma: float, generator: torch.Generator
    ) -> Transitions:
        """Draw `batch` transitions uniformly, with replacement.

        Args:
            batch: B.
            steps, gamma: see `transitions`.
            generator: on the CPU.
        """
        return self.transitions(*self.draw(batch, steps, generator), steps, gamma)

    def transitions(self, row: Tensor, env: Tensor, steps: int, gamma: float) -> Transitions:
        """Those that begin at `row` (counted from the first ever) of `env`, each (B,) int64.

        Args:
            row, env: where.
            steps: of reward before the value of what follows; fewer where the episode ends.
            gamma: discount.
        """
        rows = (row[:, None] + torch.arange(steps)) % self.length
        reward, terminal, cut = (
            self.held[name][rows, env[:, None]] for name in ("reward", "terminal", "cut")
        )
        reward, discount, length = n_step(reward, terminal, cut, gamma)
        return Transitions(
            observed=self.observation(row, env),
            action=self.held["action"][row % self.length, env].long(),
            reward=reward,
            discount=discount,
            following=self.observation(row + length, env),
        )

    def observation(self, row: Tensor, env: Tensor) -> Tensor:
        """What was observed at `row` of `env`, each (B,)."""
        if not self.stack:
            return self._observed(row, env)
        rows = row[:, None] + torch.arange(1 - self.stack, 1)  # oldest first
        screens = self._observed(rows, env[:, None])
        # A screen is of this episode if none of the later ones in the stack starts it.
        first = self.held["first"][rows % self.length, env[:, None]][:, 1:]
        earlier = first.flip(1).cumsum(dim=1).flip(1) > 0
        if earlier.any():  # before an episode the games show black
            screens[:, :-1] *= (~earlier).to(screens.dtype)[:, :, None, None]
        return screens

    def draw(self, batch: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and environments of transitions whose stack and window are held, each (B,)."""
        start = self.start
        count = (self.rows - steps - start) * self.envs
        cut = np.flatnonzero(self.held["cut"].numpy())  # where in the ring: no transition starts
        cut = ((cut // self.envs - start) % self.length) * self.envs + cut % self.envs
        cut = np.sort(cut[cut < count])
        # The k-th place that is not cut, for k drawn: one further for each cut up to it.
        drawn = torch.randint(count - len(cut), (batch,), generator=generator).numpy()
        drawn = drawn + np.searchsorted(cut - np.arange(len(cut)), drawn, side="right")
        place = torch.from_numpy(drawn)
        return start + place // self.envs, place % self.envs

    def _observed(self, row: Tensor, env: Tensor) -> Tensor:
        place = row % self.length * self.envs + env
        # Copies whole screens, where indexing goes pixel by pixel.
        flat = self.held["observed"].flatten(0, 1)
        return flat.index_select(0, place.flatten()).unflatten(0, place.shape)

    def state_dict(self) -> dict:
        """What is held, without the places that were never filled."""
        filled = min(self.rows, self.length)
        # A part is copied, since all of a tensor's memory would be saved with it.
        held = {k: v if filled == len(v) else v[:filled].clone() for k, v in self.held.items()}
        return {"rows": self.rows} | held

    def load_state_dict(self, state: dict) -> None:
        self.rows = state["rows"]
        for name, held in self.held.items():
            held[: len(state[name])] = state[name]


def mapped(folder: Path, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros in a nameless file of `folder`: a kill leaves nothing behind."""
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    with TemporaryFile(dir=folder) as file:
        # Taken now: a disk that is full later would kill the process.
        os.posix_fallocate(file.fileno(), 0, prod(shape) * kind.itemsize)
        return torch.from_numpy(np.memmap(file, kind, mode="r+", shape=shape))


def _refuse(size: int, step: int, free: int, where: str) -> None:
    """Raise UserError where `size` steps of `step` bytes are more than is free."""
    if (needed := size * step) > free:
        raise UserError(
            f"a replay of {size:,} steps takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            f"are free{where}: set model.init_args.replay to {int(0.8 * free / step)} or less"
        )
