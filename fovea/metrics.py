"""metrics.csv of a run folder, and the names of metrics.

A line is `step,name,value`. Lines are appended; the last one of a step and a name counts.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fovea.command import UserError
from fovea.foreign import open_file

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


LARGEST, LONGEST, NAMES = 2**30, 2**26, 10_000
"""Bytes of a metrics.csv, letters of a line and names of metrics that are read; a long run of ours
has some millions of bytes, and some dozens of names."""
BLOCK = 2**23
"""Letters that are parsed at once: what a curve takes is a third of its lines, or less."""
LAST_STEP = 2**63 - 1


def read_metrics(path: str | Path) -> dict[str, Curve]:
    """The curves of a metrics.csv by name; none where the file is missing.

    Raises UserError where it is a pipe or a device, or has more than LARGEST bytes, LONGEST letters
    in a line, or NAMES metrics.
    """
    found: dict[str, list[Curve]] = {}
    try:
        with io.TextIOWrapper(open_file(path), "utf-8", "replace") as file:
            for block in _blocks(file, path):
                for name, curve in parse(block).items():
                    found.setdefault(name, []).append(curve)
                if len(found) > NAMES:
                    raise UserError(f"{path} has more than {NAMES:,} metrics: {NOT_OURS}")
    except FileNotFoundError:
        return {}
    return {name: of[0] if len(of) == 1 else _joined(of) for name, of in found.items()}


NOT_OURS = "it is none of ours, do not use it"


def _blocks(file: IO[str], path: str | Path) -> Iterator[str]:
    """Whole lines of a file, of some BLOCK letters; a last line without its end is left out."""
    rest, read = "", 0
    while piece := file.read(BLOCK):
        read += len(piece)
        head, end, rest = (rest + piece).rpartition("\n")
        if read > LARGEST:
            raise UserError(f"{path} has more than {LARGEST:,} bytes: {NOT_OURS}")
        if len(rest) > LONGEST:
            raise UserError(f"{path} has a line of more than {LONGEST:,} bytes: {NOT_OURS}")
        yield head + end


ODD = " \r\v\f\x1c\x1d\x1e"  # around numbers, or what Python counts as the end of a line
LONG = 100_000  # letters, above which a table reader is worth its import


def parse(text: str) -> dict[str, Curve]:
    """The curves of the text of a metrics.csv by name.

    A line without its end, which is being written, without three fields, or of a step of more than
    63 bits is left out.
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
                number, point = int(step), float(value)
            except ValueError:
                continue
            if number <= LAST_STEP:
                points.setdefault(name, {})[number] = point
    return {
        name: _curve(np.array([*of], dtype=np.int64), np.array([*of.values()], dtype=np.float64))
        for name, of in points.items()
    }


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
        curves[name] = _curve(steps[at], values[at])
    return curves


def _joined(curves: list[Curve]) -> Curve:
    """One curve of those of one metric that were logged one after another."""
    return _curve(
        np.concatenate([of.steps for of in curves]), np.concatenate([of.values for of in curves])
    )


def _curve(steps: np.ndarray, values: np.ndarray) -> Curve:
    """The curve of some points in the order in which they were logged."""
    order = np.argsort(steps, kind="stable")
    steps, values = steps[order], values[order]
    last = np.append(np.diff(steps) > 0, True)  # of the lines of one step
    return Curve(steps[last], values[last])


def running_mean(values: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """The mean of the last `window` values at each place, of fewer at the start."""
    sums = np.cumsum(np.insert(np.asarray(values, float), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)
