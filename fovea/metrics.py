"""metrics.csv of a run folder, and the names of metrics.

A line is `step,name,value`. Lines are appended; the last one of a step and a name counts.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Of agents, over agent steps.
RETURN = "return"  # raw, of an episode that has ended
LENGTH = "length"  # agent steps of that episode
STEPS_PER_SECOND = "steps_per_second"
# Of pretraining, over optimiser steps.
FEATURE_STD = "feature_std"
ORDER_ACCURACY = "order_accuracy"
SAMPLES_PER_SECOND = "samples_per_second"
# Of both.
LOSS, LR = "loss", "lr"

WINDOW = 20  # episodes of the mean return that is shown while an agent learns


def held_out(name: str) -> str:
    """The name of a metric of pretraining when it is of held-out episodes."""
    return f"held_out/{name}"


@dataclass(frozen=True)
class Curve:
    """One metric: steps int64 (N,), ascending, and values float64 (N,), which may be NaN."""

    steps: np.ndarray
    values: np.ndarray


NOTHING = Curve(np.zeros(0, np.int64), np.zeros(0))
"""The curve of a metric that has not been logged."""


def read_metrics(path: str | Path) -> dict[str, Curve]:
    """The curves of a metrics.csv by name; none where the file is missing."""
    try:
        return parse(Path(path).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return {}


ODD = " \r\v\f\x1c\x1d\x1e"  # around numbers, or what Python counts as the end of a line
LONG = 100_000  # letters, above which a table reader is worth its import


def parse(text: str) -> dict[str, Curve]:
    """The curves of the text of a metrics.csv by name.

    A line without its end, which is being written, or without three fields is left out.
    """
    found = parse_table(text) if len(text) > LONG else None
    return parse_lines(text) if found is None else found


def parse_lines(text: str) -> dict[str, Curve]:
    """`parse`, line by line."""
    points: dict[str, dict[int, float]] = {}
    for line in text.splitlines(keepends=True):
        step, _, rest = line.partition(",")
        name, _, value = rest.rpartition(",")
        if step.isdecimal() and name and line.endswith("\n"):
            try:
                points.setdefault(name, {})[int(step)] = float(value)
            except ValueError:
                continue
    return {name: _curve(values) for name, values in points.items() if values}


def parse_table(text: str) -> dict[str, Curve] | None:
    """`parse` of a text without any odd line, some twenty times as fast; None where one is odd."""
    import pyarrow as pa
    from pyarrow import csv

    if not text.isascii() or any(odd in text for odd in ODD):
        return None
    whole = text[: text.rfind("\n") + 1].removeprefix("step,name,value\n").encode()
    types = {"step": pa.int64(), "name": pa.dictionary(pa.int32(), pa.string()),
             "value": pa.float64()}  # fmt: skip
    try:
        table = csv.read_csv(
            io.BytesIO(whole),
            csv.ReadOptions(column_names=list(types), use_threads=False),
            csv.ParseOptions(quote_char=False),
            csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        ).combine_chunks()
    except pa.ArrowInvalid:
        return None
    steps, names, values = (table.column(name).combine_chunks() for name in types)
    steps, values, codes = (np.asarray(of) for of in (steps, values, names.indices))
    if len(steps) and (steps.min() < 0 or "" in names.dictionary.to_pylist()):
        return None
    curves = {}
    for code, name in enumerate(names.dictionary.to_pylist()):
        at = np.flatnonzero(codes == code)
        at = at[np.argsort(steps[at], kind="stable")]
        last = np.append(np.diff(steps[at]) > 0, True)  # of the lines of one step
        curves[name] = Curve(steps[at[last]], values[at[last]])
    return curves


def _curve(points: dict[int, float]) -> Curve:
    steps = np.array(sorted(points), dtype=np.int64)
    return Curve(steps, np.array([points[step] for step in steps.tolist()], dtype=np.float64))


def running_mean(values: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """The mean of the last `window` values at each place, of fewer at the start."""
    sums = np.cumsum(np.insert(np.asarray(values, float), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
