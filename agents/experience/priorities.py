"""Prioritised replay: transitions with large TD errors are sampled more often."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fovea.agents.experience.replay import Replay

EPSILON = 1e-6  # is added to every error, so that every transition can be sampled again


def annealed(beta: float, update: int, updates: int) -> float:
    """The exponent of the importance weights at an update: from `beta` to 1 at the last."""
    return beta + (1 - beta) * min(1, update / updates)


class Priorities:
    """Samples from a replay in proportion to error^alpha (Schaul et al. 2016, arXiv 1511.05952).

    Transitions that were never sampled have the largest priority so far.

    Args:
        replay: what is sampled from; call `appended` after every row that is appended to it.
        steps: of a transition (see `Replay.transitions`).
        alpha: exponent, above 0.
    """

    def __init__(self, replay: Replay, steps: int, alpha: float):
        self.replay, self.steps, self.alpha = replay, steps, alpha
        self.sums = SumTree(replay.length * replay.envs)
        self.largest = 1.0

    def appended(self) -> None:
        """A row was appended: one more transition is whole, others lost a screen of their stack."""
        replay = self.replay
        newest = replay.rows - 1
        gone = np.append(np.arange(replay.oldest, replay.start), newest)
        self.sums[self._places(gone[:, None], np.arange(replay.envs)).ravel()] = 0.0
        whole = newest - self.steps
        if whole >= replay.start:
            truncated = replay.held["truncated"][whole % replay.length].numpy()
            places = self._places(whole, np.arange(replay.envs))
            self.sums[places] = np.where(truncated, 0.0, self.largest)

    def sample(
        self, batch: int, beta: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, environments and weights of B transitions, one from each B-th of all priority.

        Args:
            batch: B.
            beta: exponent of the importance weights; 1 corrects the sampling in full.
            generator: on the CPU.

        Returns, each (B,): row and env, int64, as `Replay.transitions` takes them; weights
        (float32) of their losses, at most 1.
        """
        shares = torch.rand(batch, generator=generator, dtype=torch.float64).numpy()
        place = self.sums.find((np.arange(batch) + shares) / batch * self.sums.total)
        priority = self.sums[place]
        weight = (priority.min() / priority) ** beta
        replay = self.replay
        row = replay.oldest + (place // replay.envs - replay.oldest) % replay.length
        sampled = (row, place % replay.envs, weight.astype(np.float32))
        return tuple(map(torch.from_numpy, sampled))

    def update(self, row: Tensor, env: Tensor, td_errors: Tensor) -> None:
        """Set the priorities of transitions by their absolute TD errors, each (B,)."""
        priority = (td_errors.double().numpy() + EPSILON) ** self.alpha
        self.sums[self._places(row.numpy(), env.numpy())] = priority
        self.largest = max(self.largest, float(priority.max()))

    def _places(self, row: int | np.ndarray, env: np.ndarray) -> np.ndarray:
        return row % self.replay.length * self.replay.envs + env

    def state_dict(self) -> dict:
        return {"largest": self.largest, "priority": torch.from_numpy(self.sums.leaves.copy())}

    def load_state_dict(self, state: dict) -> None:
        self.largest = state["largest"]
        self.sums[np.arange(len(state["priority"]))] = state["priority"].numpy()


class SumTree:
    """Numbers at least 0, all 0 at first, and the places where their running sum passes a value.

    Every sum is computed anew from the two below it, so that earlier numbers leave no rounding
    errors behind.
    """

    def __init__(self, count: int):
        self.count, self.half = count, 1 << (count - 1).bit_length()
        self.nodes = np.zeros(2 * self.half)  # node i is the sum of 2i and 2i + 1

    @property
    def total(self) -> float:
        return self.nodes[1]

    @property
    def leaves(self) -> np.ndarray:
        return self.nodes[self.half : self.half + self.count]

    def __getitem__(self, place: np.ndarray) -> np.ndarray:
        return self.leaves[place]

    def __setitem__(self, place: np.ndarray, number: np.ndarray | float) -> None:
        self.leaves[place] = number
        node = place + self.half
        for _ in range(self.half.bit_length() - 1):
            node = node >> 1
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1]

    def find(self, value: np.ndarray) -> np.ndarray:
        """(B,) places whose number is above 0, of values (B,) in [0, total)."""
        node = np.ones(len(value), np.int64)
        for _ in range(self.half.bit_length() - 1):
            left, right = self.nodes[2 * node], self.nodes[2 * node + 1]
            # Rounding may leave a value at the very end of a sum: it stays where there is one.
            further = (value >= left) & (right > 0)
            value = np.where(further, value - left, value)
            node = 2 * node + further
        return node - self.half
