"""Stored results of probes side by side, with intervals over test episodes and runs.

Reads what `fovea probes run` stored, and computes nothing anew but sums (see `fovea.by_episode`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fovea import by_episode
from fovea.by_episode import ENOUGH, RESAMPLES, STATISTICS
from fovea.command import UserError, nearest
from fovea.results import ProbeResult, read_arrays, read_result
from fovea.tables import Cell, Table, aligned

AVERAGED = ("game", "variable", "category")
"""Columns whose rows are averaged: variables in a category, categories in a game, games."""
FOLLOWED = "block"
"""A column whose tables are shown only where it is asked for."""
BY = (*AVERAGED, FOLLOWED)
REFERENCE = "random"


class Measure(NamedTuple):
    """What of the results is compared."""

    probe: str
    table: str
    column: str


class Row(NamedTuple):
    """The scores of one encoder: as they are, then of what was drawn again."""

    measure: Measure
    of: tuple[tuple[str, object], ...]
    """(column, value) of the rows that were averaged."""
    encoder: str
    scores: np.ndarray
    """(1 + RESAMPLES,)"""


Results = dict[str, list[tuple[ProbeResult, dict[str, np.ndarray]]]]
"""{probe: its result and arrays in each folder}."""


def compare(
    folders: Sequence[Path],
    encoders: Sequence[str] = (),
    *,
    against: str | None = None,
    probes: Sequence[str] = (),
    measures: Sequence[str] = (),
    by: Sequence[str] = (),
) -> tuple[Table, list[str]]:
    """The table of all scores, and lines that say what its intervals are of.

    Args:
        folders: run folders of probes; encoders of one name in several are runs of one method,
            such as seeds.
        encoders: names; all by default.
        against: the encoder that others are compared with; `random`, or else the first.
        probes: those that are shown; by default all whose scores are stored by episode.
        measures: columns that are shown; by default all.
        by: which of BY have rows of their own in place of a mean.

    Raises UserError for a folder without results, results that are damaged or of other recordings
    or settings, and an unknown name.
    """
    results = read(folders)
    known = list(
        dict.fromkeys(e for of in results.values() for result, _ in of for e in result.encoders)
    )
    for name in (*encoders, *([against] if against else [])):
        if name not in known:
            raise UserError(f"no encoder {name!r} in these results{nearest(name, known)}")
    against = against or (REFERENCE if REFERENCE in known else [*encoders, *known][0])
    shown = [name for name in known if name in {*encoders, against}] if encoders else known
    rows = [
        row
        for measure in _measures(results, probes, measures, by)
        for row in _rows(results[measure.probe], measure, shown, by)
    ]
    if not rows:
        raise UserError(
            "these results hold no scores by episode: run `fovea probes run` again, with "
            "state, action, reward or value among its probes"
        )
    return _table(rows, against), _notes(results, folders)


def read(folders: Sequence[Path]) -> Results:
    """The results of every probe in each of the folders."""
    found: Results = {}
    for folder in folders:
        paths = sorted(folder.glob("probes/*.json"))
        if not paths:
            raise UserError(f"{folder} holds no results: give a folder of `fovea probes run`")
        for path in paths:
            try:
                one = read_result(path), read_arrays(path)
            except (ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile) as fault:
                raise UserError(f"{path} is damaged ({fault}): measure it again") from None
            others = found.setdefault(path.stem, [])
            if others and _conditions(others[0][0]) != _conditions(one[0]):
                raise UserError(
                    f"{path.stem} of {folder} was measured on other recordings or with other "
                    f"settings than that of {folders[0]}: compare like with like"
                )
            others.append(one)
    return found


def _conditions(result: ProbeResult) -> tuple:
    return result.recordings, {k: v for k, v in result.settings.items() if k != "seed"}


def _measures(
    results: Results, probes: Sequence[str], columns: Sequence[str], by: Sequence[str]
) -> Iterator[Measure]:
    for probe in probes:
        if probe not in results:
            raise UserError(f"no results of a probe {probe!r}{nearest(probe, results)}")
    found = [
        Measure(probe, table.name, column)
        for probe, (of, *_) in results.items()
        for table in next(iter(of[0].encoders.values()), [])
        for column in table.columns
        if column in STATISTICS
    ]
    known = {measure.column for measure in found}
    for column in columns:
        if column not in known:
            raise UserError(f"no measure {column!r} in these results{nearest(column, known)}")
    for measure in found:
        asked = measure.probe in (probes or results) and measure.column in (columns or known)
        table = results[measure.probe][0][0].joined()[measure.table]
        if asked and (FOLLOWED not in table.columns or FOLLOWED in by):
            yield measure


def _rows(
    of: list[tuple[ProbeResult, dict[str, np.ndarray]]],
    measure: Measure,
    encoders: Sequence[str],
    by: Sequence[str],
) -> Iterator[Row]:
    """Rows of one measure: those of all encoders beside each other."""
    found: dict[tuple, dict[str, np.ndarray]] = {}
    for encoder in encoders:
        runs: list[dict[tuple, np.ndarray]] = []
        for result, arrays in of:
            each = by_episode.scores_of(result, arrays, encoder, measure.table, measure.column)
            if each:
                keys = by_episode.keys(result.tables(encoder)[measure.table])
                runs.append(_averaged(each, keys, by))
        for key in runs[0] if runs else ():
            every = [run[key] for run in runs if key in run]
            found.setdefault(key, {})[encoder] = _over_runs(every)
    for key, scores in found.items():
        for name, values in scores.items():
            yield Row(measure, key, name, values)


def _averaged(
    scores: dict[tuple, np.ndarray], keys: Sequence[str], by: Sequence[str]
) -> dict[tuple, np.ndarray]:
    """The means over variables, then categories, then games, of what `by` does not keep apart."""
    records = [(dict(zip(keys, key, strict=True)), value) for key, value in scores.items()]
    for column in ("variable", "category", "game"):
        if column in keys and column not in by:
            groups: dict[tuple, tuple[dict, list[np.ndarray]]] = {}
            for record, value in records:
                rest = {name: cell for name, cell in record.items() if name != column}
                groups.setdefault(tuple(rest.items()), (rest, []))[1].append(value)
            records = [(rest, mean(values)) for rest, values in groups.values()]
    return {tuple(record.items()): value for record, value in records}


def mean(values: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of scores (1 + RESAMPLES,) that are numbers.

    Where one of them has no interval, the mean has none.
    """
    every = np.stack(values)
    every = every[np.isfinite(every[:, 0])]
    if not len(every):
        return np.full(values[0].shape, np.nan)
    known = np.isfinite(every)
    summed = np.where(known, every, 0).sum(0)
    averaged = np.where(known.any(0), summed / np.maximum(known.sum(0), 1), np.nan)
    if (2 * known[:, 1:].sum(1) <= RESAMPLES).any():
        averaged[1:] = np.nan
    return averaged


def _over_runs(runs: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over runs; where there are ENOUGH of them, they are drawn again as well."""
    every = np.stack(runs)
    if len(runs) < ENOUGH:
        return mean(runs)
    drawn = every[by_episode.drawn_runs(len(runs)), np.arange(1, 1 + RESAMPLES)]
    return np.concatenate([every[:, :1].mean(0), drawn.mean(0)])


def _table(rows: Iterable[Row], against: str) -> Table:
    reference = {(row.measure, row.of): row.scores for row in rows if row.encoder == against}
    columns = ["probe", "table", "measure", "of", "encoder", "score", "low", "high"]
    columns += [f"minus {against}", "its low", "its high"]
    cells = []
    for row in rows:
        line: list[Any] = [
            *row.measure,
            ", ".join(f"{name} {value}" for name, value in row.of),
            row.encoder,
        ]
        line += [float(row.scores[0]), *by_episode.interval(row.scores)]
        other = reference.get((row.measure, row.of))
        if other is None or row.encoder == against:
            line += [None, None, None]
        else:
            gain = row.scores - other
            line += [float(gain[0]), *by_episode.interval(gain)]
        cells.append(line)
    note = "Means over the variables of a category, categories and games; 95 % intervals."
    return Table("compared", "Compared", columns, cells, note)


def _notes(results: Results, folders: Sequence[Path]) -> list[str]:
    over = "intervals are 95 % of a bootstrap over the test episodes, the same ones for all"
    if len(folders) >= ENOUGH:
        notes = [f"{over}, and over {len(folders)} runs"]
    elif len(folders) > 1:
        notes = [f"{over}; {len(folders)} runs are too few to be drawn from: theirs are means"]
    else:
        notes = [over]
    few = sorted(_few(results))
    if few:
        notes.append(
            f"no intervals where {', '.join(few)} is part of a mean: fewer than {ENOUGH} test "
            "episodes (collect more, or look --by game)"
        )
    return notes


def _few(results: Results) -> set[str]:
    """The games with too few test episodes."""
    found = set()
    for of in results.values():
        for result, arrays in of:
            for name, parts in arrays.items():
                encoder, *rest = name.split("/")
                if len(rest) == 2 and rest[1] in {s.kind for s in STATISTICS.values()}:
                    games = [str(row["game"]) for row in result.tables(encoder)[rest[0]].records()]
                    counts = (parts[..., 0] > 0).sum(1)
                    found |= {g for g, n in zip(games, counts, strict=True) if n < ENOUGH}
    return found


def text(table: Table) -> str:
    """The table as aligned lines of plain text; columns that say one thing alone are left out."""
    records = table.records()
    other = table.columns[8]
    lines = [["probe", "measure", "of", "encoder", "score", "", other.replace("minus", "−"), ""]]
    for row in records:
        lines.append(
            [
                *(str(row[name]) for name in ("probe", "measure", "of", "encoder")),
                _number(row["score"]),
                _between(row["low"], row["high"]),
                _number(row[other], "+.3f"),
                _between(row["its low"], row["its high"], "+.3f"),
            ]
        )
    return "\n".join(aligned(lines))


def _number(value: Cell, form: str = ".3f") -> str:
    return f"{value:{form}}" if isinstance(value, int | float) and np.isfinite(value) else "-"


def _between(low: Cell, high: Cell, form: str = ".3f") -> str:
    known = isinstance(low, int | float) and np.isfinite(low)
    return f"({low:{form}} to {high:{form}})" if known else ""
