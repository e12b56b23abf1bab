"""A ring buffer of observations and actions, from which transitions are sampled.

One row a step of all environments. Of screens only the newest of each stack is held (7,056 bytes a
step); stacks and n-step returns are built when transitions are sampled, never across episodes.
"""

from __future__ import annotations

import os
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

BASE = {"obs", "action", "reward", "terminal", "truncated", "episode_start"}
BESIDE = 8  # bytes of a step besides the observation: action, reward and three flags


class Transitions(NamedTuple):
    """Steps and what came of them."""

    obs: Tensor
    """(B, stack, H, W) uint8, or what an agent stores of it: features (B, F), tokens (B, N, D)."""
    action: Tensor
    """(B,) int64."""
    reward: Tensor
    """(B,) float32, the discounted sum up to `next_obs`."""
    discount: Tensor
    """(B,) float32, of the value of `next_obs`; 0 where the episode was over by then."""
    next_obs: Tensor
    """Like `obs`."""
    weight: Tensor = torch.ones(1)
    """(B,) float32, of its loss, or (1,)."""
    to_go: Tensor = torch.zeros(1)
    """(B,) float32, the discounted return to the episode's end; of recordings only."""
    next_action: Tensor = torch.zeros(1, dtype=torch.long)
    """(B,) int64, what was done at `next_obs`; of recordings only, and anything where `discount` is
    0."""


class Replay:
    """The last `size` steps of `envs` environments.

    Args:
        size: steps, over all environments.
        envs: number of environments.
        row: what is stored of one observation, for its size: a screen (H, W) uint8, features (F,)
            or tokens (N, D).
        stack: screens that make an observation; 0 where features are stored.
        folder: where observations are stored in a memory-mapped file that disappears with the
            process; None stores them in memory.

    Attributes:
        rows: steps of each environment so far.
        held: what is stored by name, each (length, envs, ...); empty before the first row, whose
            observation says of which shape and dtype they are.

    Raises UserError where it would not fit.
    """

    def __init__(self, size: int, envs: int, row: Tensor, stack: int, folder: Path | None = None):
        self.length, self.envs, self.stack = size // envs, envs, stack
        self.folder, self.rows = folder, 0
        self.held: dict[str, Tensor] = {}
        step = row.numel() * row.element_size()
        if folder:
            _refuse(size, step, free_disk(folder), f" on the disk of {folder}")
            _refuse(size, BESIDE, free_memory(), "")
        else:
            _refuse(size, step + BESIDE, free_memory(), "")

    @property
    def oldest(self) -> int:
        """The first row that is still held."""
        return max(0, self.rows - self.length)

    @property
    def start(self) -> int:
        """The first row whose whole stack is still held."""
        return self.oldest + (max(self.stack - 1, 0) if self.rows > self.length else 0)

    def append(self, **row: Tensor) -> None:
        """Store one step of every environment in place of the oldest.

        Args:
            obs: (N, ...), the newest screens or the features that were acted on.
            action: (N,)
            reward: (N,)
            terminal: (N,) bool, the episode is over.
            truncated: (N,) bool, the episode was cut off after this step: the next observation is
                not stored.
            episode_start: (N,) bool, the observation starts an episode.
            row: more floats of each step, (N, ...), the same in every row.
        """
        more = {name: row[name][0] for name in row.keys() - BASE}
        self._allocate(row["obs"], more)
        for name, held in self.held.items():
            held[self.rows % self.length] = row[name]
        self.rows += 1

    def _allocate(self, obs: Tensor, more: dict[str, Tensor]) -> None:
        """Take room for rows whose observations are like `obs` (N, ...), once.

        And for more floats of each step, like `more`.
        """
        if self.held:
            return
        shape = (self.length, self.envs)
        whole = (*shape, *obs.shape[1:])
        self.held = {
            "obs": mapped(self.folder, whole, obs.dtype)
            if self.folder
            else torch.zeros(whole, dtype=obs.dtype),
            "action": torch.zeros(shape, dtype=torch.uint8),
            "reward": torch.zeros(shape),
            "terminal": torch.zeros(shape, dtype=torch.bool),
            "truncated": torch.zeros(shape, dtype=torch.bool),
            "episode_start": torch.zeros(shape, dtype=torch.bool),
            **{name: torch.zeros(*shape, *each.shape) for name, each in more.items()},
        }

    def fill(self, held: dict[str, Tensor]) -> None:
        """Hold only `held`, each (length, envs, ...) as in `append`, without a copy."""
        self.held = held
        self.length = self.rows = len(held["action"])

    def sample(
        self, batch: int, steps: int, gamma: float, generator: torch.Generator
    ) -> Transitions:
        """`batch` transitions, uniformly and with replacement.

        Args:
            batch: B.
            steps: see `transitions`.
            gamma: discount.
            generator: on the CPU.
        """
        return self.transitions(*self.draw(batch, steps, generator), steps, gamma)

    def transitions(self, row: Tensor, env: Tensor, steps: int, gamma: float) -> Transitions:
        """Those that begin at given rows and environments.

        Args:
            row: (B,) int64, counted from the first row ever.
            env: (B,) int64.
            steps: of reward before the value of the next observation; fewer where the episode ends.
            gamma: discount.
        """
        rows = (row[:, None] + torch.arange(steps)) % self.length
        reward, terminal, truncated = (
            self.held[name][rows, env[:, None]] for name in ("reward", "terminal", "truncated")
        )
        reward, discount, length = n_step(reward, terminal, truncated, gamma)
        return Transitions(
            obs=self.observation(row, env),
            action=self.held["action"][row % self.length, env].long(),
            reward=reward,
            discount=discount,
            next_obs=self.observation(row + length, env),
        )

    def observation(self, row: Tensor, env: Tensor) -> Tensor:
        """The observations at `row` of `env`, each (B,)."""
        if not self.stack:
            return self._rows(row, env)
        rows = row[:, None] + torch.arange(1 - self.stack, 1)  # oldest first
        screens = self._rows(rows, env[:, None])
        # A screen is of this episode if none of the later ones in the stack starts it.
        start = self.held["episode_start"][rows % self.length, env[:, None]][:, 1:]
        earlier = start.flip(1).cumsum(dim=1).flip(1) > 0
        if earlier.any():  # before an episode the screens are black
            screens[:, :-1] *= (~earlier).to(screens.dtype)[:, :, None, None]
        return screens

    def draw(self, batch: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and environments, each (B,), of transitions whose stack and window are held.

        Raises UserError where there is none.
        """
        start = self.start
        count = (self.rows - steps - start) * self.envs
        out = np.flatnonzero(self.held["truncated"].numpy())  # where no transition starts
        out = ((out // self.envs - start) % self.length) * self.envs + out % self.envs
        out = np.sort(out[out < count])
        if count <= len(out):
            raise UserError(
                f"none of the {self.rows} steps that are held is followed by {steps} more: give "
                "longer episodes (other recordings, or data.max_frames), or a larger buffer_size"
            )
        # The k-th place that is not out, for k drawn: one further for each that is, up to it.
        drawn = torch.randint(count - len(out), (batch,), generator=generator).numpy()
        drawn = drawn + np.searchsorted(out - np.arange(len(out)), drawn, side="right")
        place = torch.from_numpy(drawn)
        return start + place // self.envs, place % self.envs

    def _rows(self, row: Tensor, env: Tensor) -> Tensor:
        place = row % self.length * self.envs + env
        # Copies whole screens, where indexing goes pixel by pixel.
        flat = self.held["obs"].flatten(0, 1)
        return flat.index_select(0, place.flatten()).unflatten(0, place.shape)

    def state_dict(self) -> dict:
        """What is held, without the places that were never filled."""
        filled = min(self.rows, self.length)
        # A part is copied, since all of a tensor's memory would be saved with it.
        held = {k: v if filled == len(v) else v[:filled].clone() for k, v in self.held.items()}
        return {"rows": self.rows} | held

    def load_state_dict(self, state: dict) -> None:
        self.rows = state["rows"]
        more = {name: state[name][0, 0] for name in state.keys() - BASE - {"rows"}}
        self._allocate(state["obs"][0], more)
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
            f"are free{where}: set model.init_args.buffer_size to {int(0.8 * free / step)} or less"
        )
