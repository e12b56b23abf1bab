"""Random draws that are a function of (stream, seed, step, slot), whatever the number of ranks.

Every use of a seed is a `Stream`: two uses of one seed, and one use of two seeds, never meet the
same numbers. Keys are hashed by NumPy's SeedSequence, which is made for it.

Two keys of `fovea.atari` are older than this table and stay as they are: that of a recording's
shard, which is to be made again to the same bytes, and that of `Frames.split`, or encoders would be
probed on episodes that they were trained on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum, auto, unique

import numpy as np
import torch
from torch import Tensor


@unique
class Stream(IntEnum):
    """What a seed is used for. Numbers are parts of keys: add at the end, and take none away."""

    # Initial weights
    ENCODER = auto()
    PROJECTOR = auto()
    OBJECTIVE_HEAD = auto()
    DECODER = auto()
    COMPONENTS_HEAD = auto()
    AGENT_HEAD = auto()
    TOKEN_PROJECTION = auto()
    ADAPTER = auto()
    POOL_KEYS = auto()
    # Pretraining
    ORDER = auto()
    PLACES = auto()
    VIEWS = auto()
    HELD_OUT_ORDER = auto()
    HELD_OUT_PLACES = auto()
    HELD_OUT_VIEWS = auto()
    SHARD_ORDER = auto()
    COMPONENTS_SCREENS = auto()
    COMPONENTS_SKETCH = auto()
    RANDOM_LABELS = auto()
    # Agents
    EPISODES = auto()
    ACTIONS = auto()
    BATCHES = auto()
    NOISE = auto()
    REPLAY_SHIFT = auto()
    CONSISTENCY = auto()
    NORM_EPISODES = auto()
    NORM_ACTIONS = auto()
    EVALUATION_ACTIONS = auto()
    # Probes
    PROBE_SCREENS = auto()
    PROBE_SKETCH = auto()
    PROBE_BATCHES = auto()
    # Agents, later
    HEAD_RESETS = auto()
    # Recordings by agents
    RECORDING_EPISODES = auto()
    RECORDING_ACTIONS = auto()
    PROBE_LABELS = auto()
    # Objectives and encoders, later
    READ_OUT = auto()
    INVERSE_HEAD = auto()
    DENSE_PREDICTOR = auto()
    DYNAMICS = auto()
    # Probes, later
    PROBE_READ_OUT = auto()
    ONNX_CHECK = auto()
    PROBE_TRIPLES = auto()
    PROBE_ORDERS = auto()
    PROBE_CORRUPTIONS = auto()
    PROBE_MAPS = auto()
    INTERVENTIONS = auto()
    PERMUTATIONS = auto()
    # The family of methods
    OFFLINE_BATCHES = auto()
    DISTURBANCES = auto()
    SHUFFLED_FEATURES = auto()
    LABELLED_STEPS = auto()
    CURRICULUM = auto()
    ARMS = auto()
    PERMUTED_ACTIONS = auto()
    # Pretraining on several ranks
    SHARES = auto()


def key(stream: Stream, *numbers: int) -> int:
    """A seed of 63 bits, a function of the stream and the numbers (at least 0).

    torch's generator on the CPU looks at the lower 32 of them.
    """
    entropy = (stream, *numbers)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def keyed(device: torch.device | str, stream: Stream, *numbers: int) -> torch.Generator:
    """A generator on `device` that is a function of the stream and the numbers."""
    return torch.Generator(device).manual_seed(key(stream, *numbers))


@contextmanager
def seeded(stream: Stream, *numbers: int) -> Iterator[None]:
    """Make what torch draws inside the block, on the CPU, a function of the stream and numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(stream, *numbers))
        yield


def uniform_by_index(index: Tensor, stream: Stream, *numbers: int) -> Tensor:
    """Floats uniform in [0, 1), each a function of an int64 of `index`, the stream and numbers."""
    return _shift_right(_mix(index, key(stream, *numbers)), 40).float() / 2**24


def _mix(index: Tensor, key: int) -> Tensor:
    """Each int64 of `index` mixed with the key (splitmix64)."""
    state = torch.zeros_like(index)
    for part in (index, key):
        # Neighbouring keys must not give neighbouring states.
        state = (state ^ part) + (0x9E3779B97F4A7C15 - 2**64)
        state = (state ^ _shift_right(state, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
        state = (state ^ _shift_right(state, 27)) * (0x94D049BB133111EB - 2**64)
        state = state ^ _shift_right(state, 31)
    return state


def _shift_right(bits: Tensor, count: int) -> Tensor:
    """Shift 64 bits right and fill with zeros, where >> would repeat the sign."""
    return bits >> count & 2 ** (64 - count) - 1


class Draws:
    """The random numbers of one training step, one row for each sample of this rank.

    Every rank draws for the whole batch and keeps its own slots, so that sample i of step t meets
    the same numbers on any number of ranks.

    Args:
        stream, seed, step: the key.
        batch: samples of this rank.
        device: where the numbers are made and used.
        rank, world: this rank takes the slots rank, rank + world, ...
        episode: (batch,) int64, the episodes of this rank's samples, for `by_episode`.
    """

    def __init__(
        self,
        stream: Stream,
        seed: int,
        step: int,
        batch: int,
        device: torch.device | str,
        rank: int = 0,
        world: int = 1,
        episode: Tensor | None = None,
    ):
        self.generator = keyed(device, stream, seed, step)
        self.device, self.batch, self.rank, self.world = device, batch, rank, world
        self.stream, self.seed, self.episode = stream, seed, episode

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """`(batch, *shape)` float, uniform in [low, high)."""
        full = self._empty(shape).uniform_(low, high, generator=self.generator)
        return full[self.rank :: self.world]

    def normal(self, *shape: int) -> Tensor:
        """`(batch, *shape)` float, standard normal."""
        return self._empty(shape).normal_(generator=self.generator)[self.rank :: self.world]

    def common_normal(self, *shape: int) -> Tensor:
        """Standard normal floats of a shape, the same on every rank: they belong to no sample."""
        return torch.empty(shape, device=self.device).normal_(generator=self.generator)

    def integers(self, count: int, *shape: int) -> Tensor:
        """`(batch, *shape)` int64, uniform in 0 .. count - 1."""
        full = self._empty(shape).to(torch.int64).random_(0, count, generator=self.generator)
        return full[self.rank :: self.world]

    def chance(self, p: float) -> Tensor:
        """(batch,) bool, true with probability p."""
        return self.uniform(0, 1) < p

    def by_episode(self, low: float, high: float, *shape: int, key: int = 0) -> Tensor:
        """`(batch, *shape)` float, uniform in [low, high), of (seed, episode, key) alone.

        Whenever and on whichever rank an episode is met, its numbers are the same. So are those of
        two calls: what is to be independent comes from one call, or has keys of its own.

        Raises ValueError where the draws were made without `episode`.
        """
        if self.episode is None:
            raise ValueError("these draws were made without the episodes of their samples")
        count = math.prod(shape)
        index = self.episode[:, None] * count + torch.arange(count, device=self.device)
        shares = uniform_by_index(index, self.stream, self.seed, key)
        return (low + (high - low) * shares).view(self.batch, *shape)

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(self.batch * self.world, *shape, device=self.device)
