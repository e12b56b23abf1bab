"""Cells and sentences that the tables of studies share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from fovea.analysis.html import amount
from fovea.analysis.statistics import improvement, interval, mean

IMPROVEMENT = (
    "the probability that a run of the row scores above a run of the column, ties half, with a "
    "95 % bootstrap interval over seeds."
)


def over(games: Sequence[str], seeds: Sequence[int]) -> str:
    """The sentence that says what the means are over, and whether there are intervals."""
    sure = ", with 95 % bootstrap intervals over seeds" if len(seeds) > 1 else "; no interval"
    return f"Mean over {amount(len(games), 'game')} and {amount(len(seeds), 'seed')}{sure}."


def estimate(
    scores: np.ndarray, form: str = ".3f", statistic: Callable[..., np.ndarray] = mean
) -> str:
    """A statistic of scores (seeds, games), and its interval where there are several seeds."""
    text = f"{statistic(scores):{form}}"
    if len(scores) == 1:
        return text
    low, high = interval(statistic, scores)
    return f"{text} ({low:{form}} to {high:{form}})"


def improvements(scores: Mapping[str, np.ndarray]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: how likely a run of the row scores above one of the column, ties half.

    Of scores (runs, games) by name, mean over games, with 95 % bootstrap intervals over runs inside
    each game where there are several (Agarwal et al. 2021, arXiv 2108.13264).
    """
    rows = []
    for name, x in scores.items():
        row = [name]
        for other, y in scores.items():
            text = "" if other == name else f"{improvement(x, y):.2f}"
            if text and max(len(x), len(y)) > 1:
                low, high = interval(improvement, x, y)
                text += f" ({low:.2f} to {high:.2f})"
            row.append(text)
        rows.append(row)
    return ["run", *scores], rows


def known_mean(scores: np.ndarray | None, form: str) -> str:
    """The mean of the scores that are known; empty where none is."""
    if scores is None or np.isnan(scores).all():
        return ""
    return f"{np.nanmean(scores):{form}}"


def differences(
    scores: Mapping[str, np.ndarray], pairs: Iterable[Sequence[str]]
) -> dict[str, np.ndarray]:
    """{"a - b": scores of a - scores of b}, seed by seed, of those pairs whose scores are there."""
    return {f"{a} - {b}": scores[a] - scores[b] for a, b in pairs if a in scores and b in scores}
