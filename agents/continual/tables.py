"""The tables and curves of a sequence of games, from what its folder has so far."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from fovea.agents.continual import metrics
from fovea.agents.continual.evaluation import Scores
from fovea.agents.continual.sequence import TaskSequence
from fovea.atari.games import find
from fovea.files import write_text

NUMBERS = ("average_performance", "forgetting", "forward_transfer")


def tables(folder: Path, sequence: TaskSequence) -> dict:
    """Write scores.csv, summary.csv and metrics.csv; returns what run.json is to hold of them.

    A table of scores has a row for each game that was learned and a column for each that was then
    played, in the order of the sequence; None where there is no number yet.
    """
    games = [find(game) for game in sequence.games]
    low = np.array([game.random for game in games])
    returns = {name: _returns(folder, sequence, name) for name in sequence.methods}
    curves = {name: _curves(folder, sequence, name) for name in sequence.methods}
    high = np.array([game.human for game in games])
    if sequence.reference:
        high = np.diagonal(returns[sequence.reference])
    areas = {name: _areas(sequence, curves[name], low, high) for name in sequence.methods}
    found = {}
    for name in sequence.methods:
        scores = metrics.normalised(returns[name], low, high)
        alone = areas[sequence.reference] if sequence.reference else np.full(len(games), np.nan)
        found[name] = {
            "task_aware": sequence.methods[name].task_aware,
            "returns": returns[name],
            "scores": scores,
            "average_performance": metrics.average_performance(scores),
            "forgetting": metrics.forgetting(scores),
            "forward_transfer": metrics.forward_transfer(areas[name], alone),
            "areas": areas[name],
        }
    _write(folder, sequence, found, curves)
    return _plain(
        {
            "games": sequence.games,
            "steps": sequence.steps_per_game,
            "episodes": sequence.episodes,
            "reference": sequence.reference,
            "low": low,
            "high": high,
            "methods": found,
        }
    )


def phase(folder: Path, sequence: TaskSequence, method: str, place: int) -> Path:
    """The run folder of a method in the game at `place`."""
    return folder / method / f"{place + 1}-{sequence.games[place]}"


def _returns(folder: Path, sequence: TaskSequence, method: str) -> np.ndarray:
    """(N, N) mean raw returns: after which game, in which game. NaN where not yet played."""
    scores = Scores(folder, sequence, method)
    count = range(len(sequence.games))
    table = np.full((len(count), len(count)), np.nan)
    for after in count:
        if scores.returns(after, after):  # else only of an agent that has not learned it
            table[after] = [np.mean(scores.returns(after, game) or np.nan) for game in count]
    return table


def _curves(
    folder: Path, sequence: TaskSequence, method: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each game: at which of its steps episodes ended, and their raw returns."""
    found = []
    for place in range(len(sequence.games)):
        path = phase(folder, sequence, method, place) / "metrics.csv"
        ends: dict[int, float] = {}
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.DictReader(file)
                ends = {int(r["step"]): float(r["value"]) for r in rows if r["name"] == "return"}
        steps = sorted(ends)
        found.append((np.array(steps), np.array([ends[step] for step in steps])))
    return found


def _areas(sequence: TaskSequence, curves: list, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(N,) under the normalised score while learning; NaN where the game has not ended."""
    found = []
    for (ends, returns), bottom, top in zip(curves, low, high, strict=True):
        scores = metrics.normalised(metrics.running_mean(returns), bottom, top)
        found.append(metrics.area(ends, scores, sequence.steps_per_game))
    return np.array(found)


def _write(folder: Path, sequence: TaskSequence, found: dict, curves: dict) -> None:
    summary = [[name, *(_plain(one[key]) for key in NUMBERS)] for name, one in found.items()]
    _csv(folder / "summary.csv", ["method", *NUMBERS], summary)
    cells = [
        [name, learned, game, *(_plain(one[key][after, k]) for key in ("returns", "scores"))]
        for name, one in found.items()
        for after, learned in enumerate(sequence.games)
        for k, game in enumerate(sequence.games)
    ]
    _csv(folder / "scores.csv", ["method", "after", "game", "return", "score"], cells)
    points = [
        [place * sequence.steps_per_game + int(step), f"{name}/return", float(value)]
        for name, games in curves.items()
        for place, (ends, returns) in enumerate(games)
        for step, value in zip(ends, returns, strict=True)
    ]
    _csv(folder / "metrics.csv", ["step", "name", "value"], points)


def _csv(path: Path, columns: list[str], rows: list[list]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_text(path, text.getvalue())


def _plain(value: object) -> object:
    """Numbers as JSON has them, and None for NaN."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(value)
    return value
