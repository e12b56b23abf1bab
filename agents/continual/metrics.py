"""Metrics of continual learning as in Continual World (Wolczyk et al. 2021, arXiv 2105.10919).

Scores are normalised: 0 is the random agent and 1 the reference. NaN marks a game that measures
nothing; means leave it out.
"""

from __future__ import annotations

import numpy as np


def normalised(returns: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Raw returns scaled so that `low` is 0 and `high` is 1, clipped to [0, 1].

    NaN where `high` is not above `low`: a reference that has learned nothing measures nothing.
    """
    span = np.where(high > low, np.subtract(high, low), np.nan)
    return np.clip((returns - low) / span, 0, 1)


def average_performance(scores: np.ndarray) -> float:
    """The mean over games after the last one; scores (N, N): after game i in game j."""
    return _mean(scores[-1])


def forgetting(scores: np.ndarray) -> float:
    """How much scores fell on average from the end of a game's own training to the end of all."""
    return _mean(np.diagonal(scores) - scores[-1])


def forward_transfer(areas: np.ndarray, alone: np.ndarray) -> float:
    """How much faster games were learned in the sequence than alone, both (N,) from `area`.

    The mean gain in area as a share of what the run alone lacks to 1; below 0 where the sequence
    was slower.
    """
    missing = np.where(alone < 1, 1 - alone, np.nan)
    return _mean((areas - alone) / missing)


def area(ends: np.ndarray, scores: np.ndarray, steps: int) -> float:
    """The mean over a game's training of the score while learning.

    Args:
        ends: (E,) steps at which episodes ended, ascending, in 1 .. `steps`.
        scores: (E,) of each. A score counts for the time since the one before it, the last one also
            for the rest.
        steps: of the training.

    NaN where no episode ended.
    """
    if not len(ends):
        return float("nan")
    bounds = np.concatenate([[0], ends[:-1], [steps]])
    return float(np.sum(scores * np.diff(bounds)) / steps)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
