"""Agents while they learn: a line a seed, when each took off, and what it got on the way."""

from __future__ import annotations

from fovea.analysis.agent_runs import by_game, by_method, game_of, levels, seed_by_seed
from fovea.analysis.compare import game_name
from fovea.analysis.curves import HOW, meta, of_method, points_each, thinned, thinning
from fovea.analysis.figures import level, panel, points
from fovea.analysis.html import Html, join, tag
from fovea.analysis.learning import area, ended, raw_return, take_off
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.atari.games import GAMES, hns
from fovea.metrics import NOTHING, RETURN, WINDOW, Curve, running_mean

STEPS = "environment steps"


def view(page: Page, runs: list[Run], share: float) -> Html:
    """The returns of ended episodes by game, and a table of what each seed's curve comes to.

    `share` is the human-normalised score at which an agent has taken off.
    """
    learned = [run for run in runs if len(ended(run.metrics.get(RETURN, NOTHING)).steps)]
    learned = seed_by_seed(learned)
    count = points_each(2 * len(learned))
    panels = [_panel(page, game, group, share, count) for game, group in by_game(learned).items()]
    note = (
        f"Take-off: the first agent step at which the mean return of the last {WINDOW} ended "
        f"episodes is at a human-normalised score of {share:g} or above; a dash where it "
        "never was. Area: the area under the curve over its length, which is the mean return while "
        "learning."
    )
    axes = [STEPS, "seconds"]
    return join(
        tag(
            "p",
            f"Lines are of the mean of the last {WINDOW} episodes that have ended. {HOW}"
            "Where a method has one seed, a dot is an episode (of many, the mean of neighbours). "
            + thinning(count),
        ),
        page.chart(
            "returns", "Returns while learning", {"": panels}, by_method(learned), axes=axes
        ),
        page.table("learning", *_rows(learned, share), note=note),
    )


def _panel(page: Page, game: str, runs: list[Run], share: float, count: int) -> dict:
    traces = []
    for method, group in by_method(runs).items():
        episodes = [ended(run.metrics[RETURN]) for run in group]
        curves = [Curve(c.steps, running_mean(c.values)) for c in episodes]
        if len(group) == 1:
            steps, values = thinned(episodes[0], count)
            dots = points(method, steps.tolist(), values, page.looks.colour(method))
            traces.append(dots | meta(page, method, group, "seed"))
        traces += of_method(page, method, group, curves, curves, count)
    layout = levels(game)
    if layout:
        shape, text = level(raw_return(game, share), "take-off", "bottom")
        layout["shapes"].append(shape)
        layout["annotations"].append(text)
    title = f"{game_name(game) or 'Returns'}, return"
    return panel(title, traces, x=STEPS, height=320, **layout)


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
