"""Agents: the returns of their episodes in training and in the evaluation."""

from __future__ import annotations

import numpy as np

from fovea.analysis import agent_curves, aggregates, statistics
from fovea.analysis.agent_runs import (
    by_game,
    by_method,
    evaluated,
    evaluation,
    game_of,
    levels,
    seed_by_seed,
)
from fovea.analysis.compare import game_name
from fovea.analysis.figures import panel, plain, points
from fovea.analysis.html import Html, amount, join, number, slug, tag, words
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.metrics import RETURN
from fovea.schema import Evaluation

SMALLEST = 100_000  # agent steps of Atari-100k, the smallest budget that results are reported on


def view(page: Page, runs: list[Run], take_off: float) -> Html:
    """Returns in training and in the evaluation by game, the tables, and the videos."""
    evaluated = seed_by_seed([run for run in runs if evaluation(run)])
    parts = [tag("h3", "Returns while learning")]
    if any(RETURN in run.metrics for run in runs):
        parts.append(agent_curves.view(page, runs, take_off))
    else:
        parts.append(tag("p", "No episode has ended while the agents learned.", class_="empty"))
    parts.append(tag("h3", "Evaluation"))
    if evaluated:
        parts += [
            _evaluations(page, evaluated),
            page.table("evaluation", *_rows(evaluated), note=NOTE),
            _disturbed(page, evaluated),
            _improvements(page, evaluated),
        ]
    else:
        parts.append(tag("p", "No agent has been evaluated yet.", class_="empty"))
    return join(*parts, aggregates.view(page, runs, agent_curves.STEPS), _videos(page, runs))


NOTE = (
    "The interval is the 95 % bootstrap of the mean over evaluation episodes: it says how sure the "
    "evaluation of this one agent is, not how another training seed would do. "
    "HNS is 0 for the random agent and 1 for the human tester."
)


def verdicts(runs: list[Run]) -> list[str]:
    """How the agents among these runs scored, and that a short run shows no skill."""
    playing = [run for run in runs if run.kind == "agent"]
    sentences = []
    for game, group in by_game([run for run in playing if evaluation(run)]).items():
        found = evaluated(group[0])
        sentences.append(
            f"mean return of the evaluation in {game_name(game)}: "
            f"{words([_result(name, of) for name, of in by_method(group).items()])}. "
            f"The random agent: {number(found.random)}. "
            f"The human tester: {number(found.human)}."
        )
    sentences += [caution for run in playing if (caution := _caution(run))]
    steps = {run.method: run.record.step or 0 for run in playing}
    short = [
        f"{name} ({amount(count, 'step')})" for name, count in steps.items() if count < SMALLEST
    ]
    if short:
        sentences.append(
            f"{words(short)} learned for much less than the {SMALLEST:,} steps of the smallest "
            "benchmark in use, Atari-100k: this shows the way and no skill."
        )
    return sentences


def _result(name: str, runs: list[Run]) -> str:
    each = mean_returns(runs)
    seeds = f" (seeds {words([number(score) for score in each])})" if len(each) > 1 else ""
    return f"{name} {number(float(np.mean(each)))}{seeds}"


def mean_returns(runs: list[Run]) -> list[float]:
    """The mean return of the evaluation of each run."""
    return [float(np.mean(evaluated(run).returns)) for run in runs]


def _caution(run: Run) -> str:
    """What makes a run's evaluation other than that of the whole run in whole episodes."""
    found, step = evaluation(run), run.record.step
    if not found:
        return ""
    faults = []
    if found.trained is not None and step is not None and found.trained < step:
        faults.append(f"after {found.trained:,} of the {amount(step, 'step')} it has learned for")
    if found.cut_short:
        of = f"{found.cut} of {amount(len(found.returns), 'episode')}"
        faults.append(f"in {of} cut at {found.max_frames:,} frames, which have no HNS")
    if not faults:
        return ""
    return f"{run.name} was evaluated {words(faults)}: fovea agents evaluate does it anew."


def _evaluations(page: Page, runs: list[Run]) -> Html:
    panels = []
    for game, group in by_game(runs).items():
        traces, methods = [], by_method(group)
        for place, (name, of) in enumerate(methods.items()):
            returns = np.array(mean_returns(of) if len(of) > 1 else evaluated(of[0]).returns)
            low, high = mean_interval(returns)
            colour, middle = page.looks.colour(name), float(returns.mean())
            beside = place - 0.22 + 0.14 * np.linspace(-1, 1, len(returns))
            traces.append(points(name, beside.tolist(), returns, colour, size=7))
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": plain(name),
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
            "tickvals": list(range(len(methods))),
            "ticktext": [plain(name) + f"<br>{_scored(of)}" for name, of in methods.items()],
            "range": [-0.6, len(methods) - 0.4],
            "showgrid": False,
        }
        several = any(len(of) > 1 for of in methods.values())
        each = "each episode, or of each seed of several" if several else "each episode"
        panels.append(
            panel(
                f"{game_name(game)}, return of {each}",
                traces,
                height=320,
                xaxis=ticks,
                **levels(game),
            )
        )
    names = list(by_method(runs))
    return page.chart("evaluations", "Evaluation returns", {"": panels}, names)


def _scored(runs: list[Run]) -> str:
    scores = [score for run in runs if (score := _hns(evaluation(run))) is not None]
    whole = float(np.mean(scores)) if len(scores) == len(runs) else None
    seeds = f"<br>{len(runs)} seeds" if len(runs) > 1 else ""
    return f"{number(float(np.mean(mean_returns(runs))))}, HNS {number(whole)}{seeds}"


def _hns(found: Evaluation | None) -> float | None:
    return found.hns if found and not found.cut_short else None


def mean_interval(returns: np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean over episodes, returns (N,)."""
    return statistics.interval(statistics.mean, returns[:, None])


def _rows(runs: list[Run]) -> tuple[list[str], list[list]]:
    columns = ["run", "seed", "game", "steps", "episodes", "mean return"]
    columns += ["95 % low", "95 % high", "HNS", "random agent", "human tester", "protocol"]
    rows = []
    for run in runs:
        found = evaluated(run)
        returns = np.array(found.returns, dtype=float)
        low, high = mean_interval(returns)
        rows.append(
            [
                run.method,
                run.record.seed,
                game_name(game_of(run)),
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


def _disturbed(page: Page, runs: list[Run]) -> Html:
    """How much lower the returns are under disturbances; nothing where none was tried."""
    rows = [
        [run.method, run.record.seed, game_name(game_of(run)), name, of.mean,
         evaluated(run).changes[name], None if evaluated(run).cut_short else of.hns]
        for run in runs
        for name, of in evaluated(run).disturbed.items()
    ]  # fmt: skip
    if not rows:
        return Html("")
    columns = ["run", "seed", "game", "under", "mean return", "change", "HNS"]
    note = (
        "The same episodes as those of the evaluation, with failing sensors, other screens or "
        "other dynamics (`fovea agents evaluate --help`); change is from the evaluation without."
    )
    return join(tag("h3", "Disturbed"), page.table("disturbed", columns, rows, note=note))


def _improvements(page: Page, runs: list[Run]) -> Html:
    """How likely a run of one method scores above one of another; nothing without several seeds."""
    parts = []
    for game, group in by_game(runs).items():
        methods = {name: mean_returns(of) for name, of in by_method(group).items()}
        if len(methods) > 1 and any(len(of) > 1 for of in methods.values()):
            scores = {name: np.array(of)[:, None] for name, of in methods.items()}
            name = f"improvement-{slug(game)}"
            parts.append(aggregates.improvement(page, name, game_name(game), scores))
    return join(tag("h3", "Probability of improvement"), *parts) if parts else Html("")


def _videos(page: Page, runs: list[Run]) -> Html:
    shown = []
    for run in runs:
        for path in run.media:
            link = page.attach(f"media/{run.slug}-{path.name}", path)
            about = f"{run.name} in {game_name(game_of(run))}: {path.stem.replace('_', ' ')}"
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
