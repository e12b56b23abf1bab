"""A ring of what was observed and done, from which transitions are drawn.

One row a step of all environments. Of screens only the newest of each stack is held (7,056 bytes a
step); stacks and n-step returns are built when transitions are drawn, never across episodes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.returns import n_step
from atari.command import UserError


class Transitions(NamedTuple):
    """Steps and what came of them."""

    observed: Tensor
    """(B, stack, H, W) uint8, or (B, F) features."""
    action: Tensor
    """(B,) int64."""
    reward: Tensor
    """(B,) float32, the discounted sum up to `following`."""
    discount: Tensor
    """(B,) float32, of the value of `following`; 0 where the episode was over by then."""
    following: Tensor
    """Like `observed`."""


class Replay:
    """The last `size` steps of `envs` environments.

    Args:
        size: steps, over all environments.
        envs: environments.
        row: what is held of one observation, for its shape and dtype: a screen (H, W) uint8 or
            features (F,).
        stack: screens that make an observation; 0 where features are held.

    Raises UserError where it would not fit in memory.
    """

    def __init__(self, size: int, envs: int, row: Tensor, stack: int):
        self.length, self.envs, self.stack = size // envs, envs, stack
        # What a step holds beside the observation: action, reward and three flags.
        needed = self.length * envs * (row.numel() * row.element_size() + 8)
        if needed > (free := free_memory()):
            fits = int(0.8 * size * free / needed)
            raise UserError(
                f"a replay of {size:,} steps takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB "
                f"are free: set model.init_args.replay to {fits} or less"
            )
        shape = (self.length, envs)
        self.rows = 0
        self.held = {
            "observed": torch.zeros(*shape, *row.shape, dtype=row.dtype),
            "action": torch.zeros(shape, dtype=torch.uint8),
            "reward": torch.zeros(shape),
            "terminal": torch.zeros(shape, dtype=torch.bool),
            "cut": torch.zeros(shape, dtype=torch.bool),
            "first": torch.zeros(shape, dtype=torch.bool),
        }

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
            steps: of reward before the value of what follows; fewer where the episode ends.
            gamma: discount.
            generator: on the CPU.
        """
        row, env = self._draw(batch, steps, generator)
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
        """What was observed at `row` (counted from the first ever) of `env`, each (B,)."""
        if not self.stack:
            return self.held["observed"][row % self.length, env]
        rows = (row[:, None] + torch.arange(1 - self.stack, 1)) % self.length  # oldest first
        screens = self.held["observed"][rows, env[:, None]]
        # A screen is of this episode if none of the later ones in the stack starts it.
        first = self.held["first"][rows, env[:, None]][:, 1:]
        earlier = first.flip(1).cumsum(dim=1).flip(1) > 0
        if earlier.any():
            screens[:, :-1][earlier] = 0  # before an episode the games show black
        return screens

    def _draw(self, batch: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and environments of transitions whose stack and window are held."""
        wrapped = self.rows > self.length
        oldest = max(0, self.rows - self.length)
        start = oldest + (max(self.stack - 1, 0) if wrapped else 0)
        count = (self.rows - steps - start) * self.envs
        cut = np.flatnonzero(self.held["cut"].numpy())  # where in the ring: no transition starts
        cut = ((cut // self.envs - start) % self.length) * self.envs + cut % self.envs
        cut = np.sort(cut[cut < count])
        # The k-th place that is not cut, for k drawn: one further for each cut up to it.
        drawn = torch.randint(count - len(cut), (batch,), generator=generator).numpy()
        drawn = drawn + np.searchsorted(cut - np.arange(len(cut)), drawn, side="right")
        place = torch.from_numpy(drawn)
        return start + place // self.envs, place % self.envs

    def state_dict(self) -> dict:
        """What is held, without the places that were never filled."""
        filled = min(self.rows, self.length)
        return {"rows": self.rows} | {k: v[:filled].clone() for k, v in self.held.items()}

    def load_state_dict(self, state: dict) -> None:
        self.rows = state["rows"]
        for name, held in self.held.items():
            held[: len(state[name])] = state[name]


def free_memory() -> int:
    """Bytes that this process can still have, in this machine and in its control group."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    limit = group / "memory.max"
    if limit.exists() and (most := limit.read_text().strip()) != "max":
        free = min(free, int(most) - int((group / "memory.current").read_text()))
    return free
