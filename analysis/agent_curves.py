"""Agents while they learn: a line a seed, when each took off, and what it got on the way."""

from __future__ import annotations

from fovea.analysis.agent_runs import by_game, by_method, game_of, levels, seed_by_seed
from fovea.analysis.compare import game_name
from fovea.analysis.curves import thinned
from fovea.analysis.figures import level, line, panel, points
from fovea.analysis.html import Html, join, tag
from fovea.analysis.learning import area, ended, mean_curve, raw_return, take_off
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.atari.games import GAMES, hns
from fovea.metrics import NOTHING, RETURN, WINDOW, Curve, running_mean

DOTS = 1500
STEPS = "environment steps"


def view(page: Page, runs: list[Run], share: float) -> Html:
    """The returns of ended episodes by game, and a table of what each seed's curve comes to.

    `share` is the human-normalised score at which an agent has taken off.
    """
    learned = [run for run in runs if len(ended(run.metrics.get(RETURN, NOTHING)).steps)]
    learned = seed_by_seed(learned)
    panels = [_panel(page, game, group, share) for game, group in by_game(learned).items()]
    note = (
        f"Take-off: the first agent step at which the mean return of the last {WINDOW} ended "
        f"episodes is at a human-normalised score of {share:g} or above; a dash where it "
        "never was. Area: the area under the curve over its length, which is the mean return while "
        "learning."
    )
    return join(
        tag(
            "p",
            f"A line is the mean of the last {WINDOW} episodes that have ended. Where a method has "
            "several seeds, a thin line is one of them and the thick one their mean; where it has "
            f"one, a dot is an episode (of more than {DOTS:,}, the mean of neighbours).",
        ),
        page.chart("returns", "Returns while learning", {"": panels}, by_method(learned)),
        page.table("learning", *_rows(learned, share), note=note),
        page.folded("The returns in numbers", "returns", *_returns(learned)),
    )


def _panel(page: Page, game: str, runs: list[Run], share: float) -> dict:
    traces = []
    for method, group in by_method(runs).items():
        colour, curves = page.looks.colour(method), [ended(run.metrics[RETURN]) for run in group]
        if len(group) == 1:
            steps, values = thinned(curves[0], DOTS)
            traces.append(points(method, steps.tolist(), values, colour))
            traces.append(_line(method, _smooth(curves[0]), colour))
            continue
        for run, curve in zip(group, curves, strict=True):
            name = f"{method}, seed {run.record.seed}"
            one = _line(name, _smooth(curve), colour)
            traces.append(one | {"line": {"color": colour, "width": 1}, "opacity": 0.55})
        mean = _line(f"{method}, mean of {len(group)} seeds", mean_curve(curves), colour)
        traces.append(mean | {"line": {"color": colour, "width": 3}})
    layout = levels(game)
    if layout:
        shape, text = level(raw_return(game, share), "take-off", "bottom")
        layout["shapes"].append(shape)
        layout["annotations"].append(text)
    title = f"{game_name(game) or 'Returns'}, return"
    return panel(title, traces, x=STEPS, height=320, **layout)


def _smooth(curve: Curve) -> Curve:
    return Curve(curve.steps, running_mean(curve.values))


def _line(name: str, curve: Curve, colour: str) -> dict:
    steps, values = thinned(curve)
    return line(name, steps.tolist(), values, colour)


def _rows(runs: list[Run], share: float) -> tuple[list[str], list[list]]:
    columns = ["run", "seed", "game", "steps", "episodes", "take-off", "area", "area, HNS"]
    columns.append(f"last {WINDOW} episodes")
    rows = []
    for run in runs:
        game, curve, steps = game_of(run), ended(run.metrics[RETURN]), run.record.step or 0
        under = area(curve, steps)
        rows.append(
            [
                run.method,
                run.record.seed,
                game_name(game),
                steps,
                len(curve.steps),
                take_off(curve, raw_return(game, share)),
                under,
                hns(game, under) if game in GAMES else None,
                float(curve.values[-WINDOW:].mean()),
            ]
        )
    return columns, rows


def _returns(runs: list[Run]) -> tuple[list[str], list[list]]:
    rows = [
        [run.method, run.record.seed, int(step), float(value)]
        for run in runs
        for step, value in zip(*thinned(run.metrics[RETURN], DOTS), strict=True)
    ]
    return ["run", "seed", "step", RETURN], rows
