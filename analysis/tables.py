"""Cells and sentences that the tables of studies share.

Scores are (seeds, games), NaN where there is no result yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from fovea.analysis.html import amount
from fovea.analysis.statistics import improvement, interval, mean
from fovea.analysis.study_results import Key, Results, owner

ENOUGH = 5  # seeds for an interval: a bootstrap over fewer is too narrow
IMPROVEMENT = (
    "the probability that a run of the row scores above a run of the column, ties half, with a "
    f"95 % bootstrap interval over seeds where both have {ENOUGH} or more."
)


def grid(
    results: Results, name: str, seeds: Sequence[int], games: Sequence[str], measure: str
) -> np.ndarray:
    """(seeds, games) of one measure of a run; NaN where it is not there."""
    found = [[owner(results, Key(name, seed, game)) for game in games] for seed in seeds]
    return np.array(
        [
            [of.scores.get((game, measure), np.nan) if of else np.nan
             for game, of in zip(games, row, strict=True)]
            for row in found
        ]
    )  # fmt: skip


def complete(scores: np.ndarray) -> np.ndarray:
    """The seeds with a score in every game."""
    return scores[np.isfinite(scores).all(axis=1)]


def of_seeds(scores: np.ndarray) -> str:
    """ "2 of 3": of how many seeds there are results in all games."""
    return f"{len(complete(scores))} of {len(scores)}"


def over(games: Sequence[str]) -> str:
    """The sentences that say what the means are over, and when there are intervals."""
    return (
        f"Means over {amount(len(games), 'game')} and over the seeds that have ended in all of "
        "them (column seeds); a difference takes those of both runs. In brackets stand the seeds "
        f"one by one where they are fewer than {ENOUGH}, since a bootstrap over so few is too "
        "narrow, else the 95 % bootstrap interval over seeds."
    )


def estimate(
    scores: np.ndarray,
    form: str = ".3f",
    statistic: Callable[..., np.ndarray] = mean,
    one_by_one: bool = True,
) -> str:
    """A statistic over the seeds that are complete; empty where none is.

    In brackets its interval where there are ENOUGH seeds, else, if `one_by_one`, that of each seed.
    """
    scores = complete(scores)
    if not len(scores):
        return ""
    text = f"{statistic(scores):{form}}"
    if len(scores) >= ENOUGH:
        low, high = interval(statistic, scores)
        return f"{text} ({low:{form}} to {high:{form}})"
    if len(scores) == 1 or not one_by_one:
        return text
    return f"{text} ({', '.join(f'{statistic(seed[None]):{form}}' for seed in scores)})"


def improvements(scores: Mapping[str, np.ndarray]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: how likely a run of the row scores above one of the column, ties half.

    Of scores (runs, games) by name, without gaps, mean over games, with 95 % bootstrap intervals
    over runs inside each game where there are ENOUGH (Agarwal et al. 2021, arXiv 2108.13264).
    """
    rows = []
    for name, x in scores.items():
        row = [name]
        for other, y in scores.items():
            text = "" if other == name else f"{improvement(x, y):.2f}"
            if text and min(len(x), len(y)) >= ENOUGH:
                low, high = interval(improvement, x, y)
                text += f" ({low:.2f} to {high:.2f})"
            row.append(text)
        rows.append(row)
    return ["run", *scores], rows


def known_mean(scores: np.ndarray, form: str) -> str:
    """The mean of the scores that are known; empty where none is."""
    if np.isnan(scores).all():
        return ""
    return f"{np.nanmean(scores):{form}}"


def differences(
    scores: Mapping[str, np.ndarray], pairs: Iterable[Sequence[str]]
) -> dict[str, np.ndarray]:
    """{"a - b": scores of a - scores of b}, seed by seed, of those pairs whose scores are there."""
    return {f"{a} - {b}": scores[a] - scores[b] for a, b in pairs if a in scores and b in scores}
