"""What a probe measured, episode by episode, so that its results compare with intervals.

A score such as R2 or F1 is a function of sums over screens. A probe stores these sums for each test
episode, its `parts`, as the array "TABLE/KIND" (rows of the table, episodes, numbers) beside its
table. Then the score of any choice of episodes is arithmetic on what is stored, and the same
choices serve every encoder, so that differences of encoders have intervals too (a paired
bootstrap over episodes; screens of one episode are no independent samples).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fovea.results import ProbeResult
from fovea.tables import Table

ENOUGH = 5  # episodes; a bootstrap over fewer is too narrow
RESAMPLES = 1000


class Statistic(NamedTuple):
    """A score of parts (V, E, S) for each of the weights (R, E) of episodes: (R, V)."""

    kind: str
    """Of the parts: the name of the function that makes them."""
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]


def errors(episode: ArrayLike, truth: ArrayLike, predicted: ArrayLike) -> np.ndarray:
    """(V, E, 4) for `r2`: screens, sum and sum of squares of labels, and squared errors.

    Labels count from their mean over all screens, or digits would be lost.

    Args:
        episode: (n,) the number of each screen's episode.
        truth, predicted: (n, V) labels and predictions.
    """
    y, guess = (np.asarray(of, dtype=np.float64) for of in (truth, predicted))
    from_mean = y - y.mean(0)
    each = np.stack([np.ones_like(y), from_mean, from_mean**2, (y - guess) ** 2], axis=-1)
    return _summed(episode, each)


def classes(episode: ArrayLike, truth: ArrayLike, predicted: ArrayLike, count: int) -> np.ndarray:
    """(1, E, 1 + 3 count) for F1 and accuracy: screens; class after class hits, true and claimed.

    Args:
        episode: (n,) the number of each screen's episode.
        truth, predicted: (n,) classes below `count`.
    """
    true, claimed = (np.asarray(of)[:, None] == np.arange(count) for of in (truth, predicted))
    by_class = np.stack([true & claimed, true, claimed], axis=2).reshape(len(true), -1)
    return _summed(episode, np.column_stack([np.ones(len(true)), by_class])[:, None])


def positives(episode: ArrayLike, truth: ArrayLike, predicted: ArrayLike) -> np.ndarray:
    """(1, E, 4) for `f1` of the positive class alone: screens, hits, true and claimed.

    Args:
        episode: (n,) the number of each screen's episode.
        truth, predicted: (n,) bool.
    """
    both = classes(episode, truth, predicted, 2)
    return both[..., [0, 4, 5, 6]]


def pairs(episode: ArrayLike, truth: ArrayLike, score: ArrayLike) -> np.ndarray:
    """(1, E, 3 + E) for `auroc`: screens, positives, negatives, and how pairs are ordered.

    Column 3 + j of row i counts the pairs of a positive of episode i and a negative of episode j
    whose scores say so; ties count half.

    Args:
        episode: (n,) the number of each screen's episode.
        truth: (n,) bool.
        score: (n,) the larger, the likelier positive.
    """
    true, value = np.asarray(truth, dtype=bool), np.asarray(score, dtype=np.float64)
    _, place = np.unique(np.asarray(episode), return_inverse=True)
    count = place.max() + 1
    sums = np.zeros((count, 3 + count))
    for column, of_it in enumerate((np.ones_like(true), true, ~true)):
        sums[:, column] = np.bincount(place[of_it], minlength=count)
    for j in range(count):
        negative = np.sort(value[~true & (place == j)])
        below = np.searchsorted(negative, value[true], "left")
        below_or_equal = np.searchsorted(negative, value[true], "right")
        ordered = (below + below_or_equal) / 2
        sums[:, 3 + j] = np.bincount(place[true], weights=ordered, minlength=count)
    return sums[None]


def whole(of: Callable[[np.ndarray, np.ndarray], np.ndarray], parts: np.ndarray) -> list[float]:
    """The V scores of parts (V, E, S), such as `r2`, of all episodes once."""
    return of(parts, np.ones((1, parts.shape[1])))[0].tolist()


def stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """(rows, E, S): parts of several games one after another, filled up with zeros."""
    episodes, numbers = (max(of.shape[k] for of in parts) for k in (1, 2))
    return np.concatenate(
        [
            np.pad(of, ((0, 0), (0, episodes - of.shape[1]), (0, numbers - of.shape[2])))
            for of in parts
        ]
    )


def resampled(
    table: Table, parts: np.ndarray, column: str, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """(1 + resamples, rows): the scores as they are, then those of episodes drawn again.

    Episodes are drawn with replacement, the same of a game in every row and for every encoder.
    Games of fewer than ENOUGH have NaN there.

    Args:
        table: with a column "game".
        parts: (rows, E, S) of its rows.
        column: one of STATISTICS.
        resamples: how often episodes are drawn.
        seed: of the draws.
    """
    of = STATISTICS[column].of
    games = [record["game"] for record in table.records()]
    scores = np.full((1 + resamples, len(games)), np.nan)
    for game in dict.fromkeys(games):
        rows = np.flatnonzero([name == game for name in games])
        there = parts[rows[0], :, 0] > 0
        mine = parts[rows][:, there]
        # The columns of `pairs` are episodes, too.
        if STATISTICS[column].kind == "pairs":
            mine = np.concatenate([mine[..., :3], mine[..., 3 : 3 + len(there)][..., there]], -1)
        count = mine.shape[1]
        scores[:1, rows] = of(mine, np.ones((1, count)))
        if count >= ENOUGH:
            scores[1:, rows] = of(mine, drawn(str(game), count, resamples, seed))
    return scores


def scores_of(
    result: ProbeResult, arrays: Mapping[str, np.ndarray], encoder: str, table: str, column: str
) -> dict[tuple, np.ndarray]:
    """{the other cells of a row: its (1 + RESAMPLES,) scores} of one encoder.

    Empty where the result has no such table, or no parts of that column.
    """
    found = result.tables(encoder).get(table) if encoder in result.encoders else None
    parts = arrays.get(f"{encoder}/{table}/{STATISTICS[column].kind}")
    if found is None or parts is None or column not in found.columns:
        return {}
    own = len(keys(found))
    scores = resampled(found, parts, column)
    return {tuple(row[:own]): scores[:, at] for at, row in enumerate(found.rows)}


def keys(table: Table) -> list[str]:
    """The columns that say what a row is of: those before the first score."""
    first = min(table.columns.index(name) for name in STATISTICS if name in table.columns)
    return table.columns[:first]


def drawn(game: str, episodes: int, resamples: int, seed: int) -> np.ndarray:
    """(resamples, episodes): how often each episode of a game is drawn."""
    generator = np.random.default_rng([seed, zlib.crc32(game.encode())])
    return generator.multinomial(episodes, np.full(episodes, 1 / episodes), size=resamples)


def drawn_runs(runs: int) -> np.ndarray:
    """(runs, RESAMPLES) int64: which runs are drawn, the same for every encoder."""
    return np.random.default_rng(0).integers(runs, size=(runs, RESAMPLES))


def interval(scores: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Low and high end of (1 + resamples,) scores of `resampled`; NaN where most have none."""
    found = np.asarray(scores)[1:]
    found = found[np.isfinite(found)]
    if 2 * len(found) <= len(np.asarray(scores)) - 1 or not len(found):
        return np.nan, np.nan
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def r2(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 - MSE / variance of `errors`; NaN where labels do not vary.

    The variance is that of all episodes, whichever are drawn: it says how much there is to know,
    and where one long episode has most of it, R2 of the others would be a division by nearly none.
    """
    every, total, squares, _ = _weighted(parts, np.ones((1, parts.shape[1])))
    variance = squares / every - (total / every) ** 2
    screens, _, _, missed = _weighted(parts, weights)
    return 1 - missed / screens / np.where(variance > 1e-9, variance, np.nan)


def f1(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of `positives`: 2 hits / (true + claimed); 0 where there is neither."""
    _, hits, true, claimed = _weighted(parts, weights)
    return 2 * hits / np.maximum(true + claimed, 1)


def auroc(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of `pairs`: the probability that a positive scores above a negative; NaN without either."""
    ordered = np.einsum("ri,vij,rj->rv", weights, parts[..., 3:], weights, optimize=True)
    _, positive, negative = _weighted(parts[..., :3], weights)
    return ordered / np.where(positive * negative > 0, positive * negative, np.nan)


def weighted_f1(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of `classes`: the mean F1 of the classes, weighted by how often they are true."""
    hits, true, claimed = _by_class(parts, weights)
    return (true * 2 * hits / np.maximum(true + claimed, 1)).sum(0) / true.sum(0)


def macro_f1(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of `classes`: the mean F1 of the classes that are true or claimed anywhere."""
    hits, true, claimed = _by_class(parts, weights)
    return (2 * hits / np.maximum(true + claimed, 1)).sum(0) / (true + claimed > 0).sum(0)


def accuracy(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of `classes`: the share of screens that are hits."""
    hits, true, _ = _by_class(parts, weights)
    return hits.sum(0) / true.sum(0)


STATISTICS: Mapping[str, Statistic] = {
    "r2": Statistic("errors", r2),
    "f1": Statistic("positives", f1),
    "auroc": Statistic("pairs", auroc),
    "weighted_f1": Statistic("classes", weighted_f1),
    "macro_f1": Statistic("classes", macro_f1),
    "accuracy": Statistic("classes", accuracy),
}
"""By the name of a table's column."""


def _summed(episode: ArrayLike, each: np.ndarray) -> np.ndarray:
    """(V, E, S): the sums of (n, V, S) over the screens of each episode."""
    _, place = np.unique(np.asarray(episode), return_inverse=True)
    of_episode = (place == np.arange(place.max() + 1)[:, None]).astype(np.float64)
    return np.einsum("en,nvs->ves", of_episode, each, optimize=True)


def _weighted(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(S, R, V): the sums over episodes, each as often as it was drawn."""
    return np.moveaxis(np.einsum("re,ves->rvs", weights, parts, optimize=True), -1, 0)


def _by_class(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(3, C, R, V): hits, true and claimed."""
    by_class = _weighted(parts[..., 1:], weights).reshape(-1, 3, len(weights), len(parts))
    return by_class.swapaxes(0, 1)
