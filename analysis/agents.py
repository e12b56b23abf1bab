"""Agents: the returns of their episodes in training and in the evaluation."""

from __future__ import annotations

import numpy as np

from fovea.analysis import statistics
from fovea.analysis.compare import game_name
from fovea.analysis.curves import LINES, thinned
from fovea.analysis.figures import level, line, panel, plain, points
from fovea.analysis.html import Html, amount, join, number, tag, words
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.atari.games import GAMES
from fovea.metrics import RETURN, WINDOW, Curve, running_mean
from fovea.schema import Evaluation

DOTS = 1500
STEPS = "environment steps"
SMALLEST = 100_000  # agent steps of Atari-100k, the smallest budget that results are reported on


def view(page: Page, runs: list[Run]) -> Html:
    """Returns in training and in the evaluation by game, the table, and the videos."""
    evaluated = [run for run in runs if evaluation(run)]
    parts = [tag("h3", "Returns while learning")]
    if any(RETURN in run.metrics for run in runs):
        parts.append(_training(page, runs[-LINES:]))
    else:
        parts.append(tag("p", "No episode has ended while the agents learned.", class_="empty"))
    parts.append(tag("h3", "Evaluation"))
    if evaluated:
        parts += [
            _evaluations(page, evaluated[-LINES:]),
            page.table("evaluation", *_rows(evaluated), note=NOTE),
        ]
    else:
        parts.append(tag("p", "No agent has been evaluated yet.", class_="empty"))
    return join(*parts, _videos(page, runs))


NOTE = (
    "The interval is the 95 % bootstrap of the mean over evaluation episodes: it says how sure the "
    "evaluation of this one agent is, not how another training seed would do. "
    "HNS is 0 for the random agent and 1 for the human tester."
)


def evaluation(run: Run) -> Evaluation | None:
    """The evaluation in run.json; None where there is none with returns."""
    found = run.record.evaluation
    return found if found and found.returns else None


def verdicts(runs: list[Run]) -> list[str]:
    """How the agents among these runs scored, and that a short run shows no skill."""
    playing = [run for run in runs if run.kind == "agent"]
    sentences = []
    for game, group in _by_game([run for run in playing if evaluation(run)]).items():
        found = evaluation(group[0])
        sentences.append(
            f"mean return of the evaluation in {game_name(game)}: "
            f"{words([_result(run) for run in group])}. "
            f"The random agent: {number(found.random)}. "
            f"The human tester: {number(found.human)}."
        )
    sentences += [caution for run in playing if (caution := _caution(run))]
    steps = {run.name: run.record.step or 0 for run in playing}
    short = [
        f"{name} ({amount(count, 'step')})" for name, count in steps.items() if count < SMALLEST
    ]
    if short:
        sentences.append(
            f"{words(short)} learned for much less than the {SMALLEST:,} steps of the smallest "
            "benchmark in use, Atari-100k: this shows the way and no skill."
        )
    return sentences


def _result(run: Run) -> str:
    return f"{run.name} {number(float(np.mean(evaluation(run).returns)))}"


def _caution(run: Run) -> str:
    """What makes a run's evaluation other than that of the whole run in whole episodes."""
    found, step = evaluation(run), run.record.step
    if not found:
        return ""
    faults = []
    if found.trained is not None and step is not None and found.trained < step:
        faults.append(f"after {found.trained:,} of the {amount(step, 'step')} it has learned for")
    if found.cut_short:
        faults.append(f"in episodes cut at {found.max_frames:,} frames, which have no HNS")
    if not faults:
        return ""
    return f"{run.name} was evaluated {words(faults)}: fovea agents evaluate does it anew."


def _game(run: Run) -> str:
    """Rom id; version 0.1 said it with an evaluation alone."""
    found = evaluation(run)
    return run.record.game or (found.game if found else "")


def _by_game(runs: list[Run]) -> dict[str, list[Run]]:
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_game(run), []).append(run)
    return groups


def _levels(game: str) -> dict:
    """Layout with the random agent's and the human tester's return as dashed lines."""
    known = GAMES.get(game)
    if known is None:
        return {}
    marks = [
        level(known.random, "random agent", "top"),
        level(known.human, "human tester", "bottom"),
    ]
    return {"shapes": [m[0] for m in marks], "annotations": [m[1] for m in marks]}


def _training(page: Page, runs: list[Run]) -> Html:
    learned = [run for run in runs if RETURN in run.metrics]
    panels = []
    for game, group in _by_game(learned).items():
        traces = []
        for run in group:
            colour = page.looks.colour(run.name)
            curve = run.metrics[RETURN]
            known = np.isfinite(curve.values)
            steps, values = curve.steps[known], curve.values[known]
            smooth = thinned(Curve(steps, running_mean(values)))
            steps, values = thinned(Curve(steps, values), DOTS)
            traces.append(points(run.name, steps.tolist(), values, colour))
            traces.append(line(run.name, smooth[0].tolist(), smooth[1], colour))
        panels.append(
            panel(
                f"{game_name(game) or 'Returns'}, return",
                traces,
                x=STEPS,
                height=320,
                **_levels(game),
            )
        )
    return join(
        tag(
            "p",
            f"A dot an episode (of more than {DOTS:,}, the means of neighbours); the line is the "
            f"mean of the last {WINDOW}.",
        ),
        page.chart("returns", "Returns while learning", {"": panels}, [r.name for r in learned]),
        page.folded("The returns in numbers", "returns", *_returns(learned)),
    )


def _returns(runs: list[Run]) -> tuple[list[str], list[list]]:
    rows = [
        [run.name, int(step), float(value)]
        for run in runs
        for step, value in zip(*thinned(run.metrics[RETURN], DOTS), strict=True)
    ]
    return ["run", "step", RETURN], rows


def _evaluations(page: Page, runs: list[Run]) -> Html:
    panels = []
    for game, group in _by_game(runs).items():
        traces = []
        for place, run in enumerate(group):
            returns = np.array(evaluation(run).returns, dtype=float)
            low, high = mean_interval(returns)
            colour, middle = page.looks.colour(run.name), float(returns.mean())
            beside = place - 0.22 + 0.14 * np.linspace(-1, 1, len(returns))
            traces.append(points(run.name, beside.tolist(), returns, colour, size=7))
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": plain(run.name),
                    "x": [place + 0.08],
                    "y": [middle],
                    "marker": {"symbol": "diamond", "size": 11, "color": colour},
                    "error_y": {
                        "type": "data",
                        "symmetric": False,
                        "array": [high - middle],
                        "arrayminus": [middle - low],
                        "color": colour,
                    },
                    "hovertemplate": "mean %{y:.4~g}<extra>%{fullData.name}</extra>",
                }
            )
        ticks = {
            "zeroline": False,
            "tickvals": list(range(len(group))),
            "ticktext": [plain(run.name) + f"<br>{_scored(run)}" for run in group],
            "range": [-0.6, len(group) - 0.4],
            "showgrid": False,
        }
        panels.append(
            panel(
                f"{game_name(game)}, return of each episode",
                traces,
                height=320,
                xaxis=ticks,
                **_levels(game),
            )
        )
    return page.chart("evaluations", "Evaluation returns", {"": panels}, [run.name for run in runs])


def _scored(run: Run) -> str:
    found = evaluation(run)
    score = number(float(np.mean(found.returns)))
    return f"{score}, HNS {number(_hns(found))}"


def _hns(found: Evaluation | None) -> float | None:
    return found.hns if found and not found.cut_short else None


def mean_interval(returns: np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean over episodes, returns (N,)."""
    return statistics.interval(statistics.mean, returns[:, None])


def _rows(runs: list[Run]) -> tuple[list[str], list[list]]:
    columns = ["run", "game", "steps", "episodes", "mean return"]
    columns += ["95 % low", "95 % high", "HNS", "random agent", "human tester", "protocol"]
    rows = []
    for run in runs:
        found = evaluation(run)
        returns = np.array(found.returns, dtype=float)
        low, high = mean_interval(returns)
        rows.append(
            [
                run.name,
                game_name(_game(run)),
                found.trained,
                len(returns),
                float(returns.mean()),
                low,
                high,
                _hns(found),
                found.random,
                found.human,
                found.protocol,
            ]
        )
    return columns, rows


def _videos(page: Page, runs: list[Run]) -> Html:
    shown = []
    for run in runs:
        for path in run.media:
            link = page.attach(f"media/{run.slug}-{path.name}", path)
            about = f"{run.name} in {game_name(_game(run))}: {path.stem.replace('_', ' ')}"
            if path.suffix in (".webm", ".mp4"):
                element = tag(
                    "video",
                    src=link,
                    controls=True,
                    preload="metadata",
                    aria_label=about,
                )
            else:
                element = tag("img", src=link, alt=about)
            shown.append(tag("figure", element, tag("figcaption", about)))
    if not shown:
        return Html("")
    return join(
        tag("h3", "Watch them"),
        tag("p", "The evaluation, with the encoder's attention drawn over the screen."),
        tag("div", *shown, class_="films"),
    )
