"""Agents over games and seeds together: aggregates, performance profiles, sample efficiency.

All of human-normalised scores, as in Agarwal et al. 2021 (arXiv 2108.13264).
"""

from __future__ import annotations

import numpy as np

from fovea.analysis import statistics
from fovea.analysis.agent_runs import by_game, by_method, evaluation
from fovea.analysis.curves import GRID, SEEDS, thinned
from fovea.analysis.figures import band, line, panel
from fovea.analysis.html import Html, join, tag
from fovea.analysis.learning import aligned, ended
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.analysis.tables import ENOUGH, IMPROVEMENT, improvements
from fovea.atari.games import GAMES
from fovea.metrics import NOTHING, RETURN, Curve, running_mean

STATISTICS = {
    "IQM": statistics.iqm,
    "median": statistics.median,
    "mean": statistics.mean,
    "optimality gap": statistics.optimality_gap,
}
BEST = 12  # methods in a table of all pairs
ONE = (
    "Every method here has one score in one game. Aggregates, performance profiles and their "
    "intervals need several seeds or several games."
)


def view(page: Page, runs: list[Run], steps: str) -> Html:
    """What methods reach over all their games and seeds; a sentence where each has one score.

    `steps` names what the steps of these runs count.
    """
    scores = {name: own for name, of in by_method(runs).items() if (own := of_method(of)).size}
    curves = {name: got for name, of in by_method(runs).items() if (got := efficiency(of))}
    parts = [tag("h3", "Over games and seeds")]
    if not scores and not curves:
        return Html("")
    if all(own.size < 2 for own in scores.values()) and all(c[1].size < 2 for c in curves.values()):
        return join(*parts, tag("p", ONE, class_="empty"))
    panels = []
    if scores:
        panels.append(_profiles(page, scores))
    if curves:
        panels.append(_efficiency(page, curves, steps))
    parts.append(
        tag(
            "p",
            "Human-normalised scores: 0 is the random agent, 1 the human tester. A performance "
            "profile is the share of runs that score above each level, of all games together. "
            "Sample efficiency is the interquartile mean over runs and games while they learn. "
            f"Bands, from {SEEDS} seeds on, are pointwise 95 % bootstrap intervals over seeds "
            "inside each game. Compare methods that played the same games.",
        )
    )
    if panels:
        parts.append(page.chart("aggregates", "Scores over games", {"": panels}, [*scores]))
    if scores:
        note = f"Intervals where there are {ENOUGH} seeds or more: over fewer they are too narrow."
        parts.append(page.table("aggregates", *_rows(scores), note=note))
        if len(scores) > 1 and len({own.shape[1] for own in scores.values()}) == 1:
            parts.append(improvement(page, "improvement", "All games", scores))
    return join(*parts)


def improvement(page: Page, name: str, title: str, scores: dict[str, np.ndarray]) -> Html:
    """How likely a run of one method scores above one of another, as a table of the best BEST.

    Scores are (seeds, games).
    """
    best = sorted(scores, key=lambda method: -float(statistics.iqm(scores[method])))[:BEST]
    shown = {method: scores[method] for method in scores if method in best}
    about = f"{title}: {IMPROVEMENT}"
    if len(scores) > BEST:
        about += f" Of {len(scores)} methods, the {BEST} of the highest interquartile mean."
    return join(tag("p", about), page.table(name, *improvements(shown)))


def of_method(runs: list[Run]) -> np.ndarray:
    """(seeds, games) human-normalised scores of evaluations, as many seeds as every game has."""
    games = [
        [found.hns for run in group if (found := evaluation(run)) and not found.cut_short
         and found.hns is not None and np.isfinite(found.hns)]
        for game, group in sorted(by_game(runs).items())
        if game in GAMES
    ]  # fmt: skip
    games = [scores for scores in games if scores]
    seeds = min(map(len, games), default=0)
    return np.array([scores[:seeds] for scores in games], dtype=float).T.reshape(seeds, len(games))


def efficiency(runs: list[Run]) -> tuple[np.ndarray, np.ndarray] | None:
    """Steps (points,) and (points, seeds, games) scores of running mean returns; None without any.

    At steps that all these runs have reached; of as many seeds as every game has.
    """
    games = []
    for game, group in sorted(by_game(runs).items()):
        curves = [ended(run.metrics.get(RETURN, NOTHING)) for run in group]
        curves = [c for c in curves if len(c.steps) > 1]
        if game in GAMES and curves:
            games.append(
                [
                    Curve(*thinned(Curve(c.steps, normalised(game, running_mean(c.values))), GRID))
                    for c in curves
                ]
            )
    if not games:
        return None
    seeds = min(map(len, games))
    steps, values = aligned([c for curves in games for c in curves[:seeds]], GRID)
    return steps, values.reshape(len(games), seeds, -1).T


def normalised(game: str, returns: np.ndarray) -> np.ndarray:
    """Human-normalised scores of returns in a game (rom id)."""
    known = GAMES[game]
    return (returns - known.random) / (known.human - known.random)


def _profiles(page: Page, scores: dict[str, np.ndarray]) -> dict:
    every = np.concatenate([own.ravel() for own in scores.values()])
    low, high = min(0.0, float(every.min())), float(every.max())
    room = 0.05 * max(high - low, 0.1)
    levels = np.linspace(low - room, high + room, GRID)
    traces = []
    for name, own in scores.items():
        colour = page.looks.colour(name)
        above = own[None] > levels[:, None, None]  # (points, seeds, games)
        share, least, most = statistics.band(above, statistics.mean)
        if len(own) >= SEEDS:
            traces.append(band(name, levels.tolist(), least, most, colour))
        one = line(name, levels.tolist(), share, colour)
        one["line"] |= {"dash": page.looks.dash(name), "shape": "hv"}
        traces.append(one)
    return panel(
        "Performance profile, share of runs above a score",
        traces,
        x="human-normalised score",
        height=320,
        yaxis={"range": [-0.03, 1.03]},
    )


def _efficiency(page: Page, curves: dict[str, tuple[np.ndarray, np.ndarray]], steps: str) -> dict:
    traces = []
    for name, (xs, scores) in curves.items():
        colour = page.looks.colour(name)
        middle, low, high = statistics.band(scores)
        if scores.shape[1] >= SEEDS:
            traces.append(band(name, xs.tolist(), low, high, colour))
        one = line(name, xs.tolist(), middle, colour)
        one["line"] |= {"dash": page.looks.dash(name)}
        traces.append(one)
    title = "Sample efficiency, IQM of the score while learning"
    return panel(title, traces, x=steps, height=320)


def _rows(scores: dict[str, np.ndarray]) -> tuple[list[str], list[list]]:
    columns = ["run", "games", "seeds"]
    columns += [name + end for name in STATISTICS for end in ("", ", 95 % low", ", 95 % high")]
    rows = []
    for name, own in scores.items():
        row = [name, own.shape[1], len(own)]
        for statistic in STATISTICS.values():
            row.append(float(statistic(own)))
            enough = len(own) >= ENOUGH
            row += statistics.interval(statistic, own) if enough else (None, None)
        rows.append(row)
    return columns, rows
