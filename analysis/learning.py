"""How fast an agent learned: when it took off, and what it got on the way."""

from __future__ import annotations

import numpy as np

from fovea.atari.games import GAMES
from fovea.metrics import WINDOW, Curve, running_mean

DIP_STEPS, DIP_EPISODES = 50_000, 8
"""Agent steps in which `dip` looks for the least mean return, and of how many episodes."""


def raw_return(game: str, hns: float) -> float:
    """The return in a game (rom id) that is a human-normalised score; NaN for an unknown game."""
    known = GAMES.get(game)
    return known.random + hns * (known.human - known.random) if known else np.nan


def ended(returns: Curve) -> Curve:
    """The episodes of a curve of returns, without those whose return is no number."""
    known = np.isfinite(returns.values)
    return Curve(returns.steps[known], returns.values[known])


def take_off(returns: Curve, threshold: float) -> float:
    """The first agent step at which the last WINDOW episodes have a mean return of `threshold`.

    NaN where that never happened, and where fewer episodes have ended.
    """
    episodes = ended(returns)
    means = running_mean(episodes.values)[WINDOW - 1 :]
    above = np.flatnonzero(means >= threshold)
    return float(episodes.steps[WINDOW - 1 :][above[0]]) if len(above) else np.nan


def area(returns: Curve, steps: int) -> float:
    """The area under the learning curve over its length: the mean return while learning.

    An episode's return counts for the agent steps since the episode before it ended, the last one
    also for the rest of the `steps` of the training. NaN where no episode ended.
    """
    episodes = ended(returns)
    if not len(episodes.steps):
        return np.nan
    end = max(steps, int(episodes.steps[-1]))
    bounds = np.concatenate([[0], episodes.steps[:-1], [end]])
    return float(np.sum(episodes.values * np.diff(bounds)) / end)


def dip(
    returns: Curve, initial: float, steps: int = DIP_STEPS, episodes: int = DIP_EPISODES
) -> float:
    """How far an agent that could play already fell below that: at most 0, if it ever did.

    The least mean return of so many episodes in a row that ended in the first so many agent steps,
    less the `initial` return. NaN where fewer have ended by then.
    """
    begun = ended(returns)
    early = begun.values[begun.steps <= steps]
    if len(early) < episodes:
        return np.nan
    return float(running_mean(early, episodes)[episodes - 1 :].min() - initial)


def aligned(curves: list[Curve], points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Curves on common steps, from the first to the last that all of them have reached.

    Returns the steps, int64 (points,), and the values in between, (curves, points).
    """
    first = max(c.steps[0] for c in curves)
    last = max(first, min(c.steps[-1] for c in curves))
    steps = np.unique(np.linspace(first, last, points).astype(np.int64))
    return steps, np.array([np.interp(steps, c.steps, c.values) for c in curves])
