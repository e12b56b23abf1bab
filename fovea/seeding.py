"""Random draws that are a function of (seed, step, slot), whatever the number of ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def keyed(device: torch.device | str, *key: int) -> torch.Generator:
    """A generator on `device` that is a function of the integers in `key`."""
    return torch.Generator(device).manual_seed(_seed(*key))


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Make the initial weights that are drawn inside the block a function of `key`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed(*key))
        yield


def share(first: Tensor, *key: int | Tensor) -> Tensor:
    """Floats uniform in [0, 1) that are a function of int64 `first` and of `key`, element-wise."""
    return _right(_mixed(first, *key), 40).float() / 2**24


def _seed(*key: int) -> int:
    """One 63-bit seed of several integers."""
    return _right(_mixed(*key), 1)


def _mixed(*key: int | Tensor) -> int | Tensor:
    """The low 64 bits mix all integers of `key`: all are numbers, or the first an int64 tensor."""
    state = 0
    for number in key:
        # splitmix64: neighbouring keys must not give neighbouring states. Tensors wrap around at
        # 64 bits; numbers grow beyond, and what is beyond never comes back.
        state = (state ^ number) + (0x9E3779B97F4A7C15 - 2**64)
        state = (state ^ _right(state, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
        state = (state ^ _right(state, 27)) * (0x94D049BB133111EB - 2**64)
        state = state ^ _right(state, 31)
    return state


def _right(bits: int | Tensor, count: int) -> int | Tensor:
    """Shift 64 bits right and fill with zeros, where >> would repeat the sign."""
    return bits >> count & 2 ** (64 - count) - 1


class Draws:
    """The random numbers of one training step, one row for each sample of this rank.

    Every rank draws for the whole batch and keeps its own slots, so that sample i of step t meets
    the same numbers on any number of ranks.

    Args:
        seed, step: the key.
        batch: samples of this rank.
        device: where the numbers are made and used.
        rank, world: this rank takes the slots rank, rank + world, ...
        episode: (batch,) int64, the episodes of this rank's samples, for `by_episode`.
    """

    def __init__(
        self,
        seed: int,
        step: int,
        batch: int,
        device: torch.device | str,
        rank: int = 0,
        world: int = 1,
        episode: Tensor | None = None,
    ):
        self.generator = keyed(device, seed, step)
        self.device, self.batch, self.rank, self.world = device, batch, rank, world
        self.seed, self.episode = seed, episode

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

    def by_episode(self, low: float, high: float, *shape: int, key: int = 0) -> Tensor:
        """(batch, *shape) float, uniform in [low, high): a function of (seed, episode, key) alone.

        Whenever and on whichever rank an episode is met, its numbers are the same. So are those of
        two calls: what is to be independent comes from one call, or has keys of its own.
        """
        index = torch.arange(math.prod(shape), device=self.device)
        shares = share(self.episode[:, None], index, _seed(self.seed, key))
        return (low + (high - low) * shares).view(self.batch, *shape)

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(self.batch * self.world, *shape, device=self.device)
