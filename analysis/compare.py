"""Encoders side by side: the figures of a `fovea.figures.Comparison`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fovea.analysis.figures import Looks, bars, line, panel, plain
from fovea.analysis.html import Html, amount, details, join, tag
from fovea.analysis.page import Page
from fovea.atari.games import GAMES
from fovea.figures import Comparison, parts
from fovea.tables import Table

ALL = "All, mean"


def game_name(rom_id: str) -> str:
    """The name of a game as people write it; what is no game stays as it is."""
    return GAMES[rom_id].name if rom_id in GAMES else rom_id


def label(value: object) -> str:
    """A value of a column for people: "agent_localization" is "agent localization"."""
    return game_name(value).replace("_", " ") if isinstance(value, str) else str(value)


def mean(values: Iterable[float | None]) -> float:
    """The mean of what are finite numbers; NaN where none is."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return sum(known) / len(known) if known else math.nan


def grouped(table: Table, *columns: str) -> dict[tuple, list[Sequence]]:
    """The rows by the values of some columns, in the order in which they first come."""
    places = [table.columns.index(column) for column in columns]
    groups: dict[tuple, list] = {}
    for row in table.rows:
        groups.setdefault(tuple(row[k] for k in places), []).append(row)
    return groups


def distinct(table: Table, column: str) -> list:
    """The different values of a column, in the order in which they first come."""
    return [value for (value,) in grouped(table, column)]


def means(table: Table, measure: str, *columns: str) -> dict[tuple, float]:
    """The mean of a measure of a `Comparison`, for each combination of values of `columns`."""
    above, *below = (table.columns.index(column) for column in parts(measure))
    return {
        key: mean(quotient(row[above], row[below[0]]) if below else row[above] for row in rows)
        for key, rows in grouped(table, *columns).items()
    }


def quotient(a: float | None, b: float | None) -> float | None:
    """a / b; None where that is no number."""
    return a / b if a is not None and b else None


def fits(table: Table, how: Comparison) -> bool:
    """Whether the table has all columns that the comparison names."""
    return how.columns <= set(table.columns)


def asked(table: Table, how: Comparison) -> Table:
    """The rows of a table that a comparison shows."""
    rows = [
        row
        for row, record in zip(table.rows, table.records(), strict=True)
        if all(record[column] == value for column, value in how.where.items())
    ]
    return Table(table.name, table.title, table.columns, rows, table.note)


def shows_all(table: Table, how: Comparison) -> bool:
    """Whether every row of the table has its own place in the comparison: none is averaged."""
    groups = grouped(table, "encoder", how.choice, how.along).values()
    return not how.where and all(len(rows) == 1 for rows in groups)


def view(page: Page, name: str, title: str, table: Table, how: Comparison) -> Html:
    """The figures of a comparison, and the same as a table with one column an encoder.

    Measures of which there is no number, such as an agent's scores where no agent is probed, are
    left out.
    """
    known = {
        measure: of
        for measure, of in how.measures.items()
        if any(map(math.isfinite, means(table, measure, "encoder").values()))
    }
    how = replace(how, measures=known or how.measures)
    options = grouped(table, how.choice)
    chosen = {
        label(option): Table(columns=table.columns, rows=[list(row) for row in rows])
        for (option,), rows in options.items()
    }
    if len(options) > 1 and how.averaged:
        chosen = {ALL: table} | chosen
    encoders = distinct(table, "encoder")
    # A game's row of means closes its rows; where games differ in theirs it comes last of all.
    places = sorted(distinct(table, how.along), key=lambda place: place == "mean")
    draw = {"bars": _bars, "lines": _lines}[how.kind]
    figures = {
        key: [draw(page.looks, part, m, encoders, places, how) for m in how.measures]
        for key, part in chosen.items()
    }
    columns, rows, marked = side_by_side(table, how, encoders)
    shown = page.table(
        f"{name}-side-by-side", columns, rows, note=table.note, marked=marked if how.best else ()
    )
    if how.kind == "lines":
        shown = details(f"The figures in numbers ({amount(len(rows), 'row')})", shown)
    return join(
        tag("h4", how.title) if how.title else "",
        tag("p", how.about) if how.about else "",
        page.chart(name, title, figures, encoders, how.choice.capitalize()),
        shown,
    )


def side_by_side(
    table: Table, how: Comparison, encoders: list[str]
) -> tuple[list[str], list[list], list[slice]]:
    """Columns, rows and the column range of each measure, with one column an encoder."""
    columns = [how.choice, how.along]
    values, marked = [], []
    for measure, title in how.measures.items():
        marked.append(slice(len(columns), len(columns) + len(encoders)))
        columns += [f"{title.split(',')[0]} {encoder}" for encoder in encoders]
        values.append(means(table, measure, "encoder", how.choice, how.along))
    rows = [
        [label(option), label(place) if isinstance(place, str) else place]
        + [value.get((e, option, place)) for value in values for e in encoders]
        for option, place in grouped(table, how.choice, how.along)
    ]
    return columns, rows, marked


def _bars(
    looks: Looks, table: Table, measure: str, encoders: list, places: list, how: Comparison
) -> dict:
    values = means(table, measure, "encoder", how.along)
    known = [v for v in values.values() if math.isfinite(v)]
    low = min(0.0, *known) if known else 0.0
    high = how.high or max(0.0, *known) * 1.05 if known else 1.0
    # Plotly draws lying bars from the bottom up; the first encoder and place belong on top.
    traces = [
        bars(e, map(label, places), [values.get((e, p), math.nan) for p in places], looks)
        for e in reversed(encoders)
    ]
    return panel(
        how.measures[measure],
        traces,
        height=90 + len(places) * (12 * len(encoders) + 14),
        barmode="group",
        bargap=0.25,
        xaxis={"range": [(low if how.low is None else max(low, how.low)) * 1.05, high]},
        yaxis={
            "categoryorder": "array",
            "categoryarray": [plain(label(place)) for place in reversed(places)],
            "ticklabelstandoff": 6,
        },
    )


def _lines(
    looks: Looks, table: Table, measure: str, encoders: list, places: list, how: Comparison
) -> dict:
    values, spread = means(table, measure, "encoder", how.along), how.spreads.get(measure)
    errors = means(table, spread, "encoder", how.along) if spread else {}
    numbers = all(isinstance(place, int | float) for place in places)
    traces = [
        line(
            e,
            places if numbers else map(label, places),
            [values.get((e, p), math.nan) for p in places],
            looks.colour(e),
            symbol=looks.symbol(e),
            errors=[errors.get((e, p), math.nan) for p in places] if spread else None,
        )
        for e in encoders
    ]
    few = {"tickvals": places} if len(places) <= 16 else {}
    xaxis = few if numbers else {"type": "category"}
    yaxis = {"rangemode": "tozero"} if how.low is None else {"range": [how.low, how.high]}
    return panel(how.measures[measure], traces, x=how.along, xaxis=xaxis, yaxis=yaxis)
