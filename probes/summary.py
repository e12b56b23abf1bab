"""What a run of probes came to, in a few lines for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from fovea.figures import Verdict
from fovea.results import ProbeResult
from fovea.tables import Table, aligned


def lines(results: Iterable[ProbeResult]) -> list[str]:
    """A line a probe that declares a verdict: its measure, and the mean of each encoder."""
    found = {
        f"{result.probe} {result.verdict.measure}": values
        for result in results
        if result.verdict and (values := mean_of(result.encoders, result.verdict))
    }
    encoders = list(dict.fromkeys(name for values in found.values() for name in values))
    if not encoders:
        return []
    table = [["", *encoders]]
    for name, values in found.items():
        table.append([name, *(_number(values.get(encoder)) for encoder in encoders)])
    return aligned(table, range(1, len(table[0])))


def mean_of(encoders: Mapping[str, Sequence[Table]], how: Verdict) -> dict[str, float]:
    """By encoder, what a verdict is about; without those of which there is no number."""
    values = {encoder: how.value(tables) for encoder, tables in encoders.items()}
    return {encoder: value for encoder, value in values.items() if math.isfinite(value)}


def left_out(results: Iterable[ProbeResult], encoders: Iterable[str]) -> list[str]:
    """What the probes left out of these encoders, a line each."""
    asked = list(encoders)
    return [
        f"{result.probe} of {name}: {reason}"
        for result in results
        for name in asked
        for reason in [*result.partly.get(name, []), *_of(result.left_out, name)]
    ]


def _of(reasons: Mapping[str, str], name: str) -> list[str]:
    return [reasons[name]] if name in reasons else []


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
