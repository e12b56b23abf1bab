"""The tables and curves of a sequence of games, from what its folder has so far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fovea.agents.continual import metrics
from fovea.agents.continual.evaluation import Scores
from fovea.agents.continual.sequence import TaskSequence
from fovea.atari.games import find
from fovea.files import write_text
from fovea.metrics import NOTHING, RETURN, Curve, read_metrics, running_mean
from fovea.schema import ContinualMethod, ContinualRecord, plain
from fovea.tables import Table

NUMBERS = ("average_performance", "forgetting", "forward_transfer")


def tables(folder: Path, sequence: TaskSequence, scores: Mapping[str, Scores]) -> ContinualRecord:
    """Write scores.csv, summary.csv and metrics.csv; returns what run.json is to hold of them.

    A table of scores has a row for each game that was learned and a column for each that was then
    played, in the order of the sequence; None where there is no number yet.
    """
    games = [find(game) for game in sequence.games]
    low = np.array([game.random for game in games])
    returns = {name: _returns(of) for name, of in scores.items()}
    curves = {name: _curves(folder, sequence, name) for name in sequence.methods}
    if sequence.reference:
        high = np.diagonal(returns[sequence.reference])
    else:  # the human tester played whole games, and parts of games have no score beside those
        cut = [any(of.cut(place) for of in scores.values()) for place in range(len(games))]
        high = np.where(cut, np.nan, [game.human for game in games])
    areas = {name: _areas(sequence, curves[name], low, high) for name in sequence.methods}
    found = {}
    for name in sequence.methods:
        normal = metrics.normalised(returns[name], low, high)
        alone = areas[sequence.reference] if sequence.reference else np.full(len(games), np.nan)
        found[name] = ContinualMethod(
            task_aware=sequence.methods[name].task_aware,
            returns=plain(returns[name]),
            scores=plain(normal),
            average_performance=plain(metrics.average_performance(normal)),
            forgetting=plain(metrics.forgetting(normal)),
            forward_transfer=plain(metrics.forward_transfer(areas[name], alone)),
            areas=plain(areas[name]),
        )
    _write(folder, sequence, found, curves)
    return ContinualRecord(
        games=sequence.games,
        steps=sequence.steps_per_game,
        episodes=sequence.episodes,
        reference=sequence.reference,
        low=plain(low),
        high=plain(high),
        methods=found,
    )


def _returns(scores: Scores) -> np.ndarray:
    """(N, N) mean raw returns: after which game, in which game. NaN where not yet played."""
    count = range(len(scores.sequence.games))
    table = np.full((len(count), len(count)), np.nan)
    for after in count:
        if scores.returns(after, after):  # else only of an agent that has not learned it
            table[after] = [np.mean(scores.returns(after, game) or np.nan) for game in count]
    return table


def _curves(folder: Path, sequence: TaskSequence, method: str) -> list[Curve]:
    """For each game: at which of its steps episodes ended, and their raw returns."""
    folders = [sequence.folder(folder, method, place) for place in range(len(sequence.games))]
    return [read_metrics(own / "metrics.csv").get(RETURN, NOTHING) for own in folders]


def _areas(
    sequence: TaskSequence, curves: list[Curve], low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """(N,) under the normalised score while learning; NaN where the game has not ended."""
    found = []
    for curve, bottom, top in zip(curves, low, high, strict=True):
        scores = metrics.normalised(running_mean(curve.values), bottom, top)
        found.append(metrics.area(curve.steps, scores, sequence.steps_per_game))
    return np.array(found)


def _write(
    folder: Path,
    sequence: TaskSequence,
    found: dict[str, ContinualMethod],
    curves: dict[str, list[Curve]],
) -> None:
    cells = [
        [name, learned, game, one.returns[after][k], one.scores[after][k]]
        for name, one in found.items()
        for after, learned in enumerate(sequence.games)
        for k, game in enumerate(sequence.games)
    ]
    points = [
        [place * sequence.steps_per_game + int(step), f"{name}/{RETURN}", float(value)]
        for name, games in curves.items()
        for place, curve in enumerate(games)
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    tables = (
        Table("summary", "Summary", ["method", *NUMBERS],
              [[name, *(getattr(one, key) for key in NUMBERS)] for name, one in found.items()]),
        Table("scores", "Scores", ["method", "after", "game", "return", "score"], cells),
        Table("metrics", "Metrics", ["step", "name", "value"], points),
    )  # fmt: skip
    for table in tables:
        write_text(folder / f"{table.name}.csv", table.csv())
