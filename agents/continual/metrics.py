"""What a sequence of games tells of an agent, as Continual World measures it.

Wolczyk et al. 2021, arXiv 2105.10919. Scores are normalised: 0 is the random
agent and 1 the reference. NaN marks a game that says nothing; means leave it out.
"""

from __future__ import annotations

import numpy as np


def normalised(returns: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Raw returns as a share of the way from `low` to `high`, cut to [0, 1].

    NaN where `high` is not above `low`: a reference that has learned nothing measures nothing.
    """
    way = np.where(high > low, np.subtract(high, low), np.nan)
    return np.clip((returns - low) / way, 0, 1)


def average_performance(scores: np.ndarray) -> float:
    """The mean over games after the last one; scores (N, N): after game i, in game j."""
    return _mean(scores[-1])


def forgetting(scores: np.ndarray) -> float:
    """How much was lost on average from the end of a game's own training to the end of all."""
    return _mean(np.diagonal(scores) - scores[-1])


def forward_transfer(areas: np.ndarray, alone: np.ndarray) -> float:
    """How much faster games were learned after the others than alone, both (N,) from `area`.

    Of what was missing to 1 under the curve of the run alone, the mean share that was gained;
    below 0 where the sequence was slower.
    """
    missing = np.where(alone < 1, 1 - alone, np.nan)
    return _mean((areas - alone) / missing)


def area(ends: np.ndarray, scores: np.ndarray, steps: int) -> float:
    """The mean over a game's training of the score while learning.

    Args:
        ends: (E,) steps at which episodes ended, ascending, in 1 .. `steps`.
        scores: (E,) of each. A score stands for the time since the one before it, the last one also
            for what is left.
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
