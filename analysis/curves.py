"""Learning curves: one small figure a metric, one line a run."""

from __future__ import annotations

import numpy as np

from fovea.analysis.figures import line, panel
from fovea.analysis.html import Html, amount, details, join, tag
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.metrics import LOSS, LR, SAMPLES_PER_SECOND, STEPS_PER_SECOND, Curve

LINES = 24  # more lines than this in one figure cannot be told apart
POINTS = 400
LAST = (LR, SAMPLES_PER_SECOND, STEPS_PER_SECOND)


def view(page: Page, name: str, runs: list[Run], steps: str, without: tuple[str, ...] = ()) -> Html:
    """The curves of all metrics of these runs but `without`, the newest LINES runs drawn.

    `steps` names what the steps of these runs count.
    """
    drawn = [run for run in runs if run.metrics.keys() - set(without)][-LINES:]
    if not drawn:
        return tag("p", "No metrics were logged yet.", class_="empty")
    methods = dict.fromkeys(run.method for run in drawn)
    metrics = sorted({m for run in drawn for m in run.metrics if m not in without}, key=_rank)
    panels = [_panel(page, metric, drawn, steps) for metric in metrics]
    drawn_of = f"the newest {LINES} of {amount(len(runs), 'run')}" if len(runs) > LINES else ""
    return join(
        tag("p", f"Drawn: {drawn_of}.", class_="fine") if drawn_of else "",
        page.chart(name, "Learning curves", {"": panels}, methods),
        details(
            f"The curves in numbers ({amount(len(metrics), 'metric')})",
            page.table(f"{name}-summary", *_summary(drawn, metrics)),
            _points(page, name, drawn, metrics),
        ),
    )


def thinned(curve: Curve, count: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` points: the means of as many equal parts, NaN where a part has no number."""
    parts = np.array_split(np.arange(len(curve.steps)), min(count, len(curve.steps)))
    if len(parts) == len(curve.steps):
        return curve.steps, curve.values
    known = np.isfinite(curve.values)
    values = np.where(known, curve.values, 0.0)
    with np.errstate(invalid="ignore"):
        means = np.array([values[p].sum() / np.float64(known[p].sum()) for p in parts])
    return np.array([curve.steps[p[-1]] for p in parts]), means


def _rank(metric: str) -> tuple:
    return (metric in LAST, not metric.startswith(LOSS), metric)


def _panel(page: Page, metric: str, runs: list[Run], x: str) -> dict:
    traces, nothing = [], True
    for run in runs:
        if metric in run.metrics:
            steps, values = thinned(run.metrics[metric])
            nothing &= not np.isfinite(values).any()
            # A value that was measured once, as at the end of a run, is no line.
            symbol = "circle" if len(steps) == 1 else None
            colour = page.looks.colour(run.method)
            traces.append(line(run.name, steps.tolist(), values, colour, symbol=symbol))
    silent = {"text": "no finite value was logged", "showarrow": False}
    return panel(
        metric.replace("/", ": ").replace("_", " "),
        traces,
        x=x,
        height=220,
        annotations=[{**silent, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}]
        if nothing
        else [],
    )


def _summary(runs: list[Run], metrics: list[str]) -> tuple[list[str], list[list]]:
    columns = ["metric", "run", "points", "last step", "first", "last", "lowest", "highest"]
    rows = []
    for metric in metrics:
        for run in runs:
            if metric in run.metrics:
                curve = run.metrics[metric]
                values = curve.values[np.isfinite(curve.values)]
                ends = [values[0], values[-1], values.min(), values.max()] if len(values) else []
                rows.append(
                    [metric, run.name, len(values), int(curve.steps[-1])]
                    + [float(v) for v in ends or [np.nan] * 4]
                )
    return columns, rows


def _points(page: Page, name: str, runs: list[Run], metrics: list[str]) -> Html:
    """A link to all that is drawn."""
    lines = ["run,metric,step,value"]
    for run in runs:
        for metric in metrics:
            if metric in run.metrics:
                steps, values = thinned(run.metrics[metric])
                lines += [
                    f"{run.slug},{metric},{s},{v!r}"
                    for s, v in zip(steps.tolist(), values.tolist(), strict=True)
                ]
    link = page.attach(f"data/{name}.csv", ("\n".join(lines) + "\n").encode())
    return tag("p", tag("a", "Download the points", href=link, download=True, class_="download"))
