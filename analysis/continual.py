"""Sequences of games: what each method scores in every game after each, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from fovea.analysis import statistics
from fovea.analysis.agent_curves import STEPS
from fovea.analysis.compare import game_name
from fovea.analysis.curves import thinned
from fovea.analysis.figures import finite, line, panel, plain
from fovea.analysis.html import Html, amount, join, number, slug, tag, words
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.metrics import NOTHING, RETURN, WINDOW, Curve, running_mean
from fovea.schema import ContinualMethod, ContinualRecord

NUMBERS = {
    "average_performance": "average performance",
    "forgetting": "forgetting",
    "forward_transfer": "forward transfer",
}
TASK_AWARE = {"none": "no", "heads": "its heads", "agent": "the whole agent"}
SHADE = "rgba(123,132,144,0.14)"

NOTE = (
    "Average performance is the mean score over games after the last one; forgetting, how much of "
    "a game's score was lost on average since its own training; forward transfer, how much faster "
    "games were learned than alone, by the returns while learning, of what was missing there. A "
    "game in which the reference does no better than the random agent counts for nothing. One "
    "training run each."
)


def view(page: Page, runs: list[Run]) -> Html:
    """The three numbers, the scores along the sequence and as a table of games, the curves."""
    parts = []
    for run in runs:
        if len(runs) > 1:
            parts.append(tag("h3", f"Run {run.name}"))
        if run.record.continual:
            parts.append(_one(page, run))
        else:
            parts.append(tag("p", "No game has been learned yet.", class_="empty"))
    return join(_together(page, [run for run in runs if run.record.continual]), *parts)


def methods(runs: Iterable[Run]) -> list[str]:
    """The names of all methods, whose colours are the same on the whole page."""
    return [name for run in runs if run.record.continual for name in run.record.continual.methods]


def verdicts(runs: list[Run]) -> list[str]:
    """Who remembers most, of each sequence that has gone through all its games."""
    sentences = []
    for run in runs:
        record = run.record.continual
        if record and (ranked := _ranked(record)):
            scores = words([f"{name} {number(score)}" for name, score in ranked])
            games = amount(len(record.games), "game")
            sentences.append(f"average performance of {run.name} after {games}: {scores}.")
    return sentences


def _ranked(record: ContinualRecord) -> list[tuple[str, float]]:
    numbers = {name: one.average_performance for name, one in record.methods.items()}
    known = {name: score for name, score in numbers.items() if score is not None}
    return sorted(known.items(), key=lambda pair: -pair[1])


def continual(run: Run) -> ContinualRecord:
    """What a run of a sequence recorded."""
    assert run.record.continual, run.name
    return run.record.continual


def _one(page: Page, run: Run) -> Html:
    record, name = continual(run), f"continual-{run.slug}"
    games, tried = record.games, list(record.methods)
    one = record.reference or "the human tester"
    about = (
        f"{words([game_name(game) for game in games])}, in this order, {record.steps:,} steps "
        f"each; {amount(record.episodes, 'episode')} in every game after each. A score of 0 is "
        f"the random agent's and 1 that of {one}; what lies beyond is cut."
    )
    return join(
        tag("p", about),
        page.table(name, *_summary(record), note=NOTE),
        tag("h4", "Scores along the sequence"),
        tag("p", "A game is learned where its figure is shaded."),
        page.chart(f"{name}-along", "Scores along the sequence", {"": _along(page, record)}, tried),
        tag("h4", "After which game, in which game"),
        page.chart(f"{name}-table", "Scores", _tables(record), choice="Method"),
        page.folded("All scores and returns", f"{name}-scores", *_cells(record)),
        tag("h4", "Returns while learning"),
        *_learning(page, run, name),
    )


def _summary(record: ContinualRecord) -> tuple[list[str], list[list]]:
    games = record.games
    columns = ["method", "task-aware", *NUMBERS.values(), *(game_name(g) for g in games)]
    rows = [
        [
            name,
            TASK_AWARE.get(one.task_aware, one.task_aware),
            *(getattr(one, key) for key in NUMBERS),
            *one.scores[-1],
        ]
        for name, one in record.methods.items()
    ]
    return columns, rows


def _along(page: Page, record: ContinualRecord) -> list[dict]:
    panels, steps = [], record.steps
    for place, game in enumerate(record.games):
        traces = []
        for name, one in record.methods.items():
            scores = [row[place] for row in one.scores]
            ends = [steps * (k + 1) for k in range(len(scores))]
            traces.append(line(name, ends, scores, page.looks.colour(name), symbol="circle"))
        shade = {
            "type": "rect",
            "layer": "below",
            "yref": "paper",
            "x0": steps * place,
            "x1": steps * (place + 1),
            "y0": 0,
            "y1": 1,
            "fillcolor": SHADE,
            "line": {"width": 0},
        }
        whole = {"range": [0, steps * len(record.games) * 1.03]}
        panels.append(
            panel(
                f"{game_name(game)}, score",
                traces,
                x=STEPS,
                shapes=[shade],
                xaxis=whole,
                yaxis={"range": [-0.05, 1.05]},
            )
        )
    return panels


def _tables(record: ContinualRecord) -> dict[str, list[dict]]:
    games = [plain(game_name(game)) for game in record.games]
    size = 110 + 34 * len(games)
    return {
        name: [
            panel(
                f"{name}: score of",
                [
                    {
                        "type": "heatmap",
                        "z": [finite(row) for row in one.scores],
                        "x": games,
                        "y": [f"after {game}" for game in games],
                        "zmin": 0,
                        "zmax": 1,
                        "colorscale": [[0, "rgba(31,131,181,0.05)"], [1, "#1f83b5"]],
                        "showscale": False,
                        "xgap": 2,
                        "ygap": 2,
                        "text": [[number(score) for score in row] for row in one.scores],
                        "texttemplate": "%{text}",
                        "hovertemplate": "%{y}, in %{x}: %{text}<extra></extra>",
                    }
                ],
                height=size,
                xaxis={"side": "top", "showgrid": False, "type": "category"},
                yaxis={"autorange": "reversed", "showgrid": False, "type": "category"},
                margin={"l": 44, "r": 12, "t": 70, "b": 12},
            )
        ]
        for name, one in record.methods.items()
    }


def _cells(record: ContinualRecord) -> tuple[list[str], list[list]]:
    games = [game_name(game) for game in record.games]
    rows = [
        [name, after, game, one.returns[i][j], one.scores[i][j]]
        for name, one in record.methods.items()
        for i, after in enumerate(games)
        for j, game in enumerate(games)
    ]
    return ["method", "after", "game", "mean return", "score"], rows


def _learning(page: Page, run: Run, name: str) -> list[Html]:
    record = continual(run)
    curves = {game_name(game): _curves(page, run, place) for place, game in enumerate(record.games)}
    panels = [
        panel(f"{game}, mean return of {WINDOW} episodes", traces, x=STEPS)
        for game, traces in curves.items()
        if traces
    ]
    parts = []
    if silent := [game for game, traces in curves.items() if not traces]:
        parts.append(tag("p", f"No episode of {words(silent)} has ended in training."))
    if panels:
        parts.append(page.chart(f"{name}-curves", "Returns", {"": panels}, record.methods))
    return parts


def _curves(page: Page, run: Run, place: int) -> list[dict]:
    """A line for each method in whose training in game number `place` an episode ended."""
    record, traces = continual(run), []
    begin = place * record.steps
    for name in record.methods:
        curve = run.metrics.get(f"{name}/{RETURN}", NOTHING)
        here = (curve.steps > begin) & (curve.steps <= begin + record.steps)
        if here.any():
            mean = running_mean(curve.values[here])
            steps, values = thinned(Curve(curve.steps[here] - begin, mean))
            traces.append(line(name, steps.tolist(), values, page.looks.colour(name)))
    return traces


def _together(page: Page, runs: list[Run]) -> Html:
    """Runs of the same games and methods as seeds of one comparison, where there are several."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        record = continual(run)
        groups.setdefault((*record.games, record.steps, *record.methods), []).append(run)
    parts = []
    for group in groups.values():
        if len(group) > 1:
            names = words([run.name for run in group])
            parts += [
                tag("h3", f"{amount(len(group), 'run')} of the same sequence"),
                tag("p", f"{names}: means over runs, of the scores the interquartile mean over "
                         "runs and games, each with its 95 % bootstrap interval over runs."),
                page.table(f"continual-{slug(group[0].slug)}-together", *_over_runs(group)),
            ]  # fmt: skip
    return join(*parts)


def _over_runs(runs: list[Run]) -> tuple[list[str], list[list]]:
    measures = {"score": (_final, statistics.iqm)} | {
        title: (_single(key), statistics.mean)
        for key, title in NUMBERS.items()
        if key != "average_performance"
    }
    ends = ("", ", 95 % low", ", 95 % high")
    columns = [f"{title}{end}" for title in measures for end in ends]
    rows = []
    for name in continual(runs[0]).methods:
        row: list = [name]
        for taken, statistic in measures.values():
            values = np.array([taken(continual(run).methods[name]) for run in runs], dtype=float)
            values = values[:, np.isfinite(values).all(axis=0)]  # games that count in all runs
            if values.size:
                row += [float(statistic(values)), *statistics.interval(statistic, values)]
            else:
                row += [None] * 3
        rows.append(row)
    return ["method", *columns], rows


def _final(one: ContinualMethod) -> list[float | None]:
    return one.scores[-1]


def _single(key: str) -> Callable[[ContinualMethod], list[float | None]]:
    return lambda one: [getattr(one, key)]
