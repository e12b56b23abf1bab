"""Aggregate scores over runs and games, with intervals that say how far to trust them.

`scores` is float (..., runs, games), one normalised score of one run in one game each; every
statistic reduces the last two axes. Formulas of Agarwal et al. 2021, "Deep RL at the edge of the
statistical precipice".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike


def mean(scores: ArrayLike) -> np.ndarray:
    """The mean over all runs and games."""
    return np.mean(np.asarray(scores), axis=(-2, -1))


def median(scores: ArrayLike) -> np.ndarray:
    """The median over games of the mean over runs."""
    return np.median(np.mean(np.asarray(scores), axis=-2), axis=-1)


def iqm(scores: ArrayLike) -> np.ndarray:
    """The interquartile mean: of all runs and games together, without a quarter at either end."""
    scores = np.asarray(scores, dtype=float)
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)


def optimality_gap(scores: ArrayLike, target: float = 1.0) -> np.ndarray:
    """How much is missing to `target` on average, where more than `target` counts as `target`."""
    return target - np.minimum(scores, target).mean(axis=(-2, -1))


def improvement(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """The probability that a run of x scores above a run of y, ties half, mean over games.

    Args:
        x, y: (..., runs, games); the numbers of runs may differ.
    """
    x, y = np.asarray(x)[..., :, None, :], np.asarray(y)[..., None, :, :]
    return ((x > y) + 0.5 * (x == y)).mean(axis=(-3, -2, -1))


def interval(
    statistic: Callable[..., np.ndarray],
    *scores: ArrayLike,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Low and high end of the stratified percentile bootstrap interval of `statistic(*scores)`.

    Runs are drawn with replacement, independently inside each game: games are what the benchmark
    fixes, runs are what chance decides. The same seed gives the same interval.
    """
    generator = np.random.default_rng(seed)
    draws = [_resample(np.asarray(s, dtype=float), resamples, generator) for s in scores]
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistic(*draws), (tail, 1 - tail))
    return float(low), float(high)


def _resample(scores: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """(runs, games) -> (resamples, runs, games)."""
    rows = generator.integers(len(scores), size=(resamples, *scores.shape))
    return np.take_along_axis(scores[None], rows, axis=1)


def band(
    scores: np.ndarray,
    statistic: Callable[[ArrayLike], np.ndarray] = iqm,
    confidence: float = 0.95,
    resamples: int = 300,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A statistic of runs and games at each point of curves, and its pointwise bootstrap band.

    Args:
        scores: (points, runs, games). A run is drawn with its whole curve.
        statistic: of (..., runs, games).

    Returns the statistic and the low and high end, (points,) each.
    """
    _, runs, games = scores.shape
    rows = np.random.default_rng(seed).integers(runs, size=(resamples, runs, games))
    draws = scores[:, rows, np.arange(games)]  # (points, resamples, runs, games)
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistic(draws), (tail, 1 - tail), axis=1)
    return statistic(scores), low, high
