"""Learning curves: one small figure a metric, a thin line a run, and what the seeds come to."""

from __future__ import annotations

import numpy as np

from fovea.analysis.agent_runs import by_method
from fovea.analysis.figures import band, line, panel, plain
from fovea.analysis.html import Html, amount, details, join, tag
from fovea.analysis.learning import aligned
from fovea.analysis.page import Page
from fovea.analysis.runs import Run
from fovea.analysis.statistics import band as iqm_band
from fovea.metrics import LOSS, LR, SAMPLES_PER_SECOND, STEPS_PER_SECOND, Curve

POINTS = 400  # of a line at most
BUDGET = 250_000  # points of all lines of a section, so that a page of any number of runs opens
FEWEST = 40
GRID = 100  # points of an interquartile mean
SEEDS = 3  # for a band; a bootstrap over two is their range
LAST = (LR, SAMPLES_PER_SECOND, STEPS_PER_SECOND)
HOW = (
    f"A thin line is a run. Where a method has several seeds, the thick line is the interquartile "
    f"mean over them, and the band around it, from {SEEDS} seeds on, its pointwise 95 % bootstrap "
    "interval (Agarwal et al. 2021); with fewer than five seeds it is too narrow. "
)


def view(page: Page, name: str, runs: list[Run], steps: str, without: tuple[str, ...] = ()) -> Html:
    """The curves of all metrics of these runs but `without`.

    `steps` names what the steps of these runs count. What was measured once is a number and no
    curve: such metrics are a table.
    """
    logged = [run for run in runs if run.metrics.keys() - set(without)]
    if not logged:
        return tag("p", "No metrics were logged yet.", class_="empty")
    metrics = sorted({m for run in logged for m in run.metrics if m not in without}, key=_rank)
    lines = [m for m in metrics if any(_several(run, m) for run in logged)]
    once = [m for m in metrics if m not in lines]
    parts = []
    if lines:
        count = points_each(sum(m in run.metrics for run in logged for m in lines))
        panels = [_panel(page, metric, logged, steps, count) for metric in lines]
        axes = [steps, "samples", "seconds"] if any(run.record.batch for run in logged) else []
        parts += [
            tag("p", HOW + thinning(count)),
            page.chart(
                name,
                "Learning curves",
                {"": panels},
                by_method(logged),
                axes=axes or [steps, "seconds"],
            ),
            details(
                f"The curves in short ({amount(len(lines), 'metric')})",
                page.table(f"{name}-summary", *_summary(logged, lines)),
            ),
        ]
    if once:
        parts += [
            tag("h4", "Measured once"),
            page.table(f"{name}-once", *_once(logged, once)),
        ]
    return join(*parts)


def points_each(curves: int) -> int:
    """How many points each of so many curves may have."""
    return int(np.clip(BUDGET // max(curves, 1), FEWEST, POINTS))


def thinning(count: int) -> str:
    """How curves of more points than `count` are drawn."""
    return (
        f"Of a curve of more than {count} points, the lowest and the highest of each of "
        f"{count // 2} equal parts are drawn; means are of all points."
    )


def extremes(curve: Curve, count: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` points: the lowest and highest of equal parts, in the order of their steps.

    A part without any number is one NaN, which draws a gap; the last step is always there.
    """
    size = len(curve.steps)
    if size <= count:
        return curve.steps, curve.values
    bounds = np.linspace(0, size - 1, max(count // 2, 2)).astype(int)  # the last point stands alone
    values = np.where(np.isfinite(curve.values), curve.values, np.nan)
    low = np.minimum.reduceat(np.where(np.isnan(values), np.inf, values), bounds)
    high = np.maximum.reduceat(np.where(np.isnan(values), -np.inf, values), bounds)
    part = np.repeat(np.arange(len(bounds)), np.diff(np.append(bounds, size)))
    kept = []
    for extreme in (low, high):
        where = np.flatnonzero(values == extreme[part])
        kept.append(where[np.unique(part[where], return_index=True)[1]])
    silent = bounds[~np.isfinite(low)]
    at = np.unique(np.concatenate([*kept, silent]))
    return curve.steps[at], values[at]


def thinned(curve: Curve, count: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` points: the means of as many equal parts, NaN where a part has no number."""
    if len(curve.steps) <= count:
        return curve.steps, curve.values
    bounds = np.linspace(0, len(curve.steps), count + 1).astype(int)
    known = np.isfinite(curve.values)
    sums = np.add.reduceat(np.where(known, curve.values, 0.0), bounds[:-1])
    counts = np.add.reduceat(known, bounds[:-1])
    return curve.steps[bounds[1:] - 1], np.where(counts, sums / np.maximum(counts, 1), np.nan)


def known(curve: Curve) -> Curve:
    """A curve without what is no number."""
    finite = np.isfinite(curve.values)
    return Curve(curve.steps[finite], curve.values[finite])


def of_method(
    page: Page, method: str, runs: list[Run], curves: list[Curve], means: list[Curve], count: int
) -> list[dict]:
    """The traces of one method: its runs' `curves`, and the IQM and band over runs of `means`.

    They say in `meta` what they are and of which runs, for the page's selectors.
    """
    colour, several = page.looks.colour(method), len(runs) > 1
    own = {"width": 1.2 if several else 2, "dash": page.looks.dash(method)}
    traces = []
    for run, curve in zip(runs, curves, strict=True):
        name = f"{method}, seed {run.record.seed}" if several else run.name
        steps, values = extremes(curve, count)
        symbol = "circle" if len(steps) == 1 else None
        one = line(name, steps.tolist(), values, colour, symbol=symbol)
        one["line"] |= own
        if several:
            one["opacity"] = 0.5
        traces.append(one | meta(page, method, [run], "seed"))
    if several and (over := [curve for curve in means if len(curve.steps)]):
        steps, values = aligned(over, GRID)
        middle, low, high = iqm_band(values.T[:, :, None])
        here = meta(page, method, runs, "mean")
        if len(over) >= SEEDS:
            traces.append(band(method, steps.tolist(), low, high, colour) | here)
        one = line(f"{method}, IQM of {len(over)} seeds", steps.tolist(), middle, colour)
        one["line"] |= {"width": 3, "dash": page.looks.dash(method)}
        traces.append(one | here)
    return traces


def meta(page: Page, method: str, runs: list[Run], role: str) -> dict:
    """Of which method and runs a trace is, and whether it is a "seed" or of their "mean"."""
    places = [page.places[run.slug] for run in runs]
    return {"meta": {"of": plain(method), "runs": places, "role": role}}


def _several(run: Run, metric: str) -> bool:
    return metric in run.metrics and len(run.metrics[metric].steps) > 1


def _rank(metric: str) -> tuple:
    return (metric in LAST, not metric.startswith(LOSS), metric)


def _panel(page: Page, metric: str, runs: list[Run], x: str, count: int) -> dict:
    traces, nothing = [], True
    having = [run for run in runs if metric in run.metrics]
    for method, group in by_method(having).items():
        curves = [run.metrics[metric] for run in group]
        means = [Curve(*thinned(known(curve), GRID)) for curve in curves]
        nothing &= not any(len(of.steps) for of in means)
        traces += of_method(page, method, group, curves, means, count)
    silent = {"text": "no finite value was logged", "showarrow": False}
    return panel(
        metric.replace("/", ": ").replace("_", " "),
        traces,
        x=x,
        height=240,
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
                values = known(curve).values
                ends = [values[0], values[-1], values.min(), values.max()] if len(values) else []
                rows.append(
                    [metric, run.name, len(values), int(curve.steps[-1])]
                    + [float(v) for v in ends or [np.nan] * 4]
                )
    return columns, rows


def _once(runs: list[Run], metrics: list[str]) -> tuple[list[str], list[list]]:
    rows = [
        [run.name, int(max(run.metrics[m].steps[-1] for m in metrics if m in run.metrics))]
        + [float(run.metrics[m].values[-1]) if m in run.metrics else None for m in metrics]
        for run in runs
        if any(m in run.metrics for m in metrics)
    ]
    return ["run", "step", *(m.replace("/", ": ").replace("_", " ") for m in metrics)], rows
