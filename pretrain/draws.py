"""Random draws that are a function of (seed, step, slot), whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def keyed(device: torch.device | str, *key: int) -> torch.Generator:
    """A generator on `device` that is a function of the integers in `key`."""
    return torch.Generator(device).manual_seed(_mixed(*key))


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Make the initial weights that are drawn inside the block a function of `key`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_mixed(*key))
        yield


def _mixed(*key: int) -> int:
    """One 63-bit seed of several integers."""
    state = 0
    for number in key:
        # splitmix64: neighbouring keys must not give neighbouring states.
        state = (state ^ number) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


class Draws:
    """The random numbers of one training step, one row for each sample of this rank.

    Every rank draws for the whole batch and keeps its own slots, so that sample i of step t meets
    the same numbers on any number of ranks.

    Args:
        seed, step: the key.
        batch: samples of this rank.
        device: where the numbers are made and used.
        rank, world: this rank takes the slots rank, rank + world, ...
    """

    def __init__(self, seed: int, step: int, batch: int, device, rank: int = 0, world: int = 1):
        self.generator = keyed(device, seed, step)
        self.device, self.batch, self.rank, self.world = device, batch, rank, world

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(batch, *shape) float, uniform in [low, high)."""
        full = self._empty(shape).uniform_(low, high, generator=self.generator)
        return full[self.rank :: self.world]

    def normal(self, *shape: int) -> Tensor:
        """(batch, *shape) float, standard normal."""
        return self._empty(shape).normal_(generator=self.generator)[self.rank :: self.world]

    def integers(self, count: int, *shape: int) -> Tensor:
        """(batch, *shape) int64, uniform in 0 .. count - 1."""
        full = self._empty(shape).to(torch.int64).random_(0, count, generator=self.generator)
        return full[self.rank :: self.world]

    def chance(self, p: float) -> Tensor:
        """(batch,) bool, true with probability p."""
        return self.uniform(0, 1) < p

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(self.batch * self.world, *shape, device=self.device)
