"""Figures and sentences that a probe declares for the report, as plain data.

A probe's file says them once; they are stored beside its tables, so that the report shows a new
probe without knowing it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fovea.schema import Record
from fovea.tables import Cell, Table


@dataclass(kw_only=True)
class Comparison(Record):
    """Encoders side by side, in one of the probe's tables.

    Attributes:
        table: its name.
        along: the column along the axis.
        choice: the column that a selector chooses by; the mean over all is offered first.
        averaged: whether that mean is offered.
        measures: {column: title}, a figure each; "a / b" is the quotient of two columns in a row.
        kind: "bars" (lying, for words along the axis) or "lines" (for numbers, or words that have
            an order).
        title: heading, where the probe has several figures.
        about: what to read from it.
        where: {column: value} of the rows that are shown; all of them by default.
        spreads: {measure: column with half the length of its error bars}, of lines.
        best: whether more is better, so that the table sets off the best encoder of a row.
        low: end of the value axis where it is fixed; what lies beyond is cut.
        high: the other end.
    """

    table: str
    along: str
    choice: str
    measures: dict[str, str]
    kind: str = "bars"
    title: str = ""
    about: str = ""
    averaged: bool = True
    where: dict[str, str] = field(default_factory=dict)
    spreads: dict[str, str] = field(default_factory=dict)
    best: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def columns(self) -> set[str]:
        """Those of the table that it takes."""
        measured = {column for measure in self.measures for column in parts(measure)}
        return {self.along, self.choice, *measured, *self.where, *self.spreads.values()}


@dataclass(kw_only=True)
class AttentionMaps(Record):
    """Screens with maps over them, of the arrays `screens`, `maps` and `game`.

    They are as the probes `attention` and `attribution` return them. The maps are named by block
    and head, or by an array `labels`; those of an array `rollout` come first.

    Attributes:
        title: heading.
        about: what to read from it.
    """

    kind: str = "attention"
    title: str = "Where the encoders look"
    about: str = (
        "Attention of the summary token over the newest screen, one square a patch, each map "
        "scaled from nothing to its own strongest patch. Rollout multiplies the attention of all "
        "blocks (Abnar and Zuidema 2020)."
    )


@dataclass(kw_only=True)
class EmbeddingMap(Record):
    """Screens as points of a plane, of the arrays that the probe `map` returns."""

    kind: str = "map"


@dataclass(kw_only=True)
class Gains(Record):
    """What each encoder gained and lost against another, as a matrix and a sentence.

    Of a table whose parts by episode are stored (see `fovea.by_episode`), so that differences have
    intervals over the test episodes.

    Attributes:
        table: its name; it has a column "game".
        measure: the column of scores.
        row: the column that names the rows of the matrix.
        across: the columns whose values, joined, name its columns.
        reference: the encoder that others are compared with.
        title: heading.
    """

    table: str
    measure: str
    row: str
    across: list[str]
    reference: str = "random"
    title: str = ""
    kind: str = "gains"

    @property
    def columns(self) -> set[str]:
        """Those of the table that it takes."""
        return {"game", self.measure, self.row, *self.across}


@dataclass(kw_only=True)
class Similarity(Record):
    """How alike the blocks of encoders are, from the arrays "PLACE/GAME" (blocks, n, D).

    They are features of the same screens for every encoder, as the probe `similarity` returns them.

    Attributes:
        places: the names before the slash.
    """

    places: list[str]
    kind: str = "similarity"


Figure = Comparison | AttentionMaps | EmbeddingMap | Gains | Similarity
KINDS: dict[str, type[Figure]] = {
    "bars": Comparison,
    "lines": Comparison,
    "attention": AttentionMaps,
    "map": EmbeddingMap,
    "gains": Gains,
    "similarity": Similarity,
}


@dataclass(kw_only=True)
class Verdict(Record):
    """How encoders stand beside the references, in a sentence of the report's first section.

    Attributes:
        sentence: what is measured; "{games}" in it becomes their number.
        table: name of the probe's table.
        measure: the column whose mean over rows counts.
        over: a column by whose mean that mean is divided.
        where: {column: value} of the rows that count; all of them by default.
        references: names of those that are compared with, such as "random".
    """

    sentence: str
    table: str
    measure: str
    over: str = ""
    where: dict[str, str] = field(default_factory=dict)
    references: list[str] = field(default_factory=lambda: ["random"])

    @property
    def columns(self) -> set[str]:
        """Those of the table that it takes."""
        return {self.measure, *self.where} | ({self.over} if self.over else set())

    def value(self, tables: Iterable[Table]) -> float:
        """What it is about, of the tables of one encoder; NaN where there is no number."""
        for table in tables:
            if table.name == self.table:
                asked = [
                    row
                    for row in table.records()
                    if all(row.get(column) == value for column, value in self.where.items())
                ]
                mean = _mean(row.get(self.measure) for row in asked)
                over = _mean(row.get(self.over) for row in asked) if self.over else 1.0
                return mean / over if over else math.nan
        return math.nan


def parts(measure: str) -> list[str]:
    """The one or two columns of a measure of `Comparison`: "a" or "a / b"."""
    return measure.split(" / ")


def _mean(cells: Iterable[Cell]) -> float:
    """Of those that are finite numbers; NaN of none."""
    known = [cell for cell in cells if isinstance(cell, int | float) and math.isfinite(cell)]
    return sum(known) / len(known) if known else math.nan


def read_figures(found: list[Mapping[str, Any]]) -> list[Figure]:
    """The figures of their JSON objects, without those of kinds that this version does not know."""
    return [KINDS[one["kind"]].read(one) for one in found if one.get("kind") in KINDS]
