"""Runs of agents: their game, their evaluation, and which of them differ in their seed alone."""

from __future__ import annotations

from fovea.analysis.figures import level
from fovea.analysis.runs import Run
from fovea.atari.games import GAMES
from fovea.schema import Evaluation


def evaluation(run: Run) -> Evaluation | None:
    """The evaluation in run.json; None where there is none with returns that are numbers."""
    found = run.record.evaluation
    return found if found and found.returns and not run.odd_evaluation else None


def evaluated(run: Run) -> Evaluation:
    """The evaluation of a run that has one."""
    found = evaluation(run)
    assert found, run.name
    return found


def game_of(run: Run) -> str:
    """Rom id; version 0.1 said it with an evaluation alone."""
    found = evaluation(run)
    return run.record.game or (found.game if found else "")


def by_game(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs of each game, by rom id."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(game_of(run), []).append(run)
    return groups


def by_method(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs of each method, which differ in their seed."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.method, []).append(run)
    return groups


def seed_by_seed(runs: list[Run]) -> list[Run]:
    """The runs game by game and method by method, in the order of their seeds."""
    groups = [of for group in by_game(runs).values() for of in by_method(group).values()]
    return [run for of in groups for run in sorted(of, key=lambda run: run.record.seed or 0)]


def levels(game: str) -> dict:
    """Layout with the random agent's and the human tester's return as dashed lines."""
    known = GAMES.get(game)
    if known is None:
        return {}
    marks = [
        level(known.random, "random agent", "top"),
        level(known.human, "human tester", "bottom"),
    ]
    return {"shapes": [m[0] for m in marks], "annotations": [m[1] for m in marks]}
