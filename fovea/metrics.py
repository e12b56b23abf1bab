"""metrics.csv of a run folder, and the names of metrics.

A line is `step,name,value`. Lines are appended; the last one of a step and a name counts.
"""

from __future__ import annotations

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


def parse(text: str) -> dict[str, Curve]:
    """The curves of the text of a metrics.csv by name.

    A line without its end, which is being written, or without three fields is left out.
    """
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


def _curve(points: dict[int, float]) -> Curve:
    steps = np.array(sorted(points), dtype=np.int64)
    return Curve(steps, np.array([points[step] for step in steps.tolist()], dtype=np.float64))


def running_mean(values: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """The mean of the last `window` values at each place, of fewer at the start."""
    sums = np.cumsum(np.insert(np.asarray(values, float), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
