"""Which contexts to train in, so that one of the agents does well in every context.

Model-based transfer learning (Cho et al. 2024, arXiv 2408.04498): what an agent would reach where
it is trained is a Gaussian process over contexts, and what it loses elsewhere grows with the
distance. The next context is the one whose agent should raise the best return over all contexts by
most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

NOISE = 0.1  # standard deviation of a performance, on the scale of 0 to 1
SCALE = 0.5  # standard deviation of performances over contexts, likewise
LENGTHS = np.geomspace(0.05, 2.0, 25)  # of the kernel, as shares of the largest distance
USUAL = 0.3  # the length that few performances leave as it is
SLOPE = 0.5
"""What an agent loses at the largest distance, while no agent has shown it."""

Choose = Callable[[dict[int, np.ndarray], np.ndarray], int]
"""From the rows of those chosen, (N,) returns in every context, and distances (N, N): the next."""


def posterior(
    known: Sequence[int], values: np.ndarray, distance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (N,) of a Gaussian process, of values (K,) at `known` contexts.

    A squared exponential kernel over distances (N, N) from 0 to 1, whose length among LENGTHS has
    the largest posterior; a length is as unlikely as it is many times longer or shorter than USUAL.
    """
    best, at = -np.inf, list(known)
    centred = values - values.mean()
    for length in LENGTHS:
        kernel = SCALE**2 * np.exp(-(distance**2) / (2 * length**2))
        within = kernel[np.ix_(at, at)] + NOISE**2 * np.eye(len(at))
        _, log_determinant = np.linalg.slogdet(within)
        weight = np.linalg.solve(within, centred)
        prior = np.log(length / USUAL) ** 2
        likelihood = -0.5 * (centred @ weight + log_determinant + prior)
        if likelihood > best:
            best = likelihood
            across = kernel[:, at]
            mean = values.mean() + across @ weight
            variance = SCALE**2 - np.einsum("nk,kn->n", across, np.linalg.solve(within, across.T))
    return mean, np.sqrt(np.clip(variance, 0, None))


def slope(rows: dict[int, np.ndarray], distance: np.ndarray) -> float:
    """What agents lost per unit of distance, by least squares through 0; at least 0."""
    if not rows:
        return SLOPE
    lost = np.concatenate([row[i] - row for i, row in rows.items()])
    away = np.concatenate([distance[i] for i in rows])
    return max(0.0, float(away @ lost / max(float(away @ away), 1e-12)))


def mbtl(rows: dict[int, np.ndarray], distance: np.ndarray) -> int:
    """The context with the largest expected gain, at the upper confidence bound of their code.

    a(x) = mean over x' of max(mean(x) + sqrt(log(k + 1)) std(x) - slope d(x, x') - best so far in
    x', 0), after k contexts; the first is that nearest to all.
    """
    if not rows:
        return middle(rows, distance)
    best = np.max([*rows.values()], axis=0)
    mean, std = posterior([*rows], np.array([row[i] for i, row in rows.items()]), distance)
    reach = mean + np.sqrt(np.log(len(rows) + 1)) * std
    gain = np.maximum(reach[:, None] - slope(rows, distance) * distance - best, 0).mean(axis=1)
    return _largest(gain, rows)


def middle(rows: dict[int, np.ndarray], distance: np.ndarray) -> int:
    """The context nearest to all, then the one farthest from those chosen."""
    if not rows:
        return int(distance.mean(axis=1).argmin())
    return _largest(distance[:, [*rows]].min(axis=1), rows)


def equidistant(rows: dict[int, np.ndarray], distance: np.ndarray, budget: int) -> int:
    """The middles of `budget` equal parts of the contexts in their order, the first part first."""
    count = len(distance)
    places = [int((k + 0.5) * count / budget) for k in range(budget)]
    left = [place for place in places if place not in rows]
    return left[0] if left else middle(rows, distance)


def greedy(rows: dict[int, np.ndarray], distance: np.ndarray, matrix: np.ndarray) -> int:
    """The context whose agent raises the best returns most, where all are known."""
    so_far = np.max([*rows.values()], axis=0) if rows else np.full(len(matrix), matrix.min())
    return _largest(np.maximum(matrix, so_far).mean(axis=1), rows)


def _largest(score: np.ndarray, taken: dict[int, np.ndarray]) -> int:
    score = np.asarray(score, float).copy()
    score[[*taken]] = -np.inf
    return int(score.argmax())


def chosen(choose: Choose, matrix: np.ndarray, distance: np.ndarray, budget: int) -> list[int]:
    """The contexts that a way chooses, when each shows its row of the matrix once trained."""
    rows: dict[int, np.ndarray] = {}
    for _ in range(budget):
        new = choose(rows, distance)
        rows[new] = matrix[new]
    return [*rows]


def reached(order: Sequence[int], matrix: np.ndarray) -> list[float]:
    """After each of these contexts, the mean over all of the best agent's return there."""
    return [float(matrix[order[: k + 1]].max(axis=0).mean()) for k in range(len(order))]


def at_random(matrix: np.ndarray, budget: int, draws: int = 1000, seed: int = 0) -> list[float]:
    """What `reached` gives on average, of contexts drawn without replacement."""
    rng = np.random.default_rng(seed)
    each = [reached(rng.permutation(len(matrix))[:budget].tolist(), matrix) for _ in range(draws)]
    return np.mean(each, axis=0).tolist()


def scaled(matrix: np.ndarray) -> np.ndarray:
    """Returns between 0, the least of them, and 1, the largest."""
    low, high = np.nanmin(matrix), np.nanmax(matrix)
    return (matrix - low) / max(high - low, 1e-12)


def distances(values: Sequence[float]) -> np.ndarray:
    """(N, N) of numbers, as shares of their range."""
    numbers = np.asarray(values, float)
    away = np.abs(numbers[:, None] - numbers)
    return away / max(away.max(), 1e-12)
