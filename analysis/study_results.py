"""The results of a study, kept as small tables that outlive its run folders.

    runs.csv     run, seed, game, commit, seconds, command    what ran
    scores.csv   run, seed, game, measure, value              what it measured
    curves.csv   run, seed, game, step, return                how agents learned

Rows are sorted, so that git shows what has changed. A score or a point of a curve counts for the
run in runs.csv whose name and seed it has, and whose game, where that is not empty; without one it
is left over from a process that was killed, and does not count.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fovea.command import UserError, natural
from fovea.files import write_text
from fovea.foreign import read_text
from fovea.tables import Table


class Key(NamedTuple):
    """What a result is of; the game is empty where a run learns from all games of a study."""

    run: str
    seed: int
    game: str = ""

    @property
    def place(self) -> Path:
        """Where the run folder lies in the study's: seed-SEED/NAME or seed-SEED/GAME/NAME."""
        return Path(f"seed-{self.seed}", self.game, self.run)

    @staticmethod
    def of(place: Path) -> Key:
        """The key of a place."""
        seed, *game, run = place.parts
        return Key(run, int(seed.removeprefix("seed-")), *game)


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes:
        commit: of the code that ran it, see `fovea.checkout`; empty where it is not known.
        seconds: of work.
        command: what makes it again, as a shell takes it; OUT stands for the study's folder.
        scores: {(game, measure): value}; infinity stands for what never happened.
        curve: {agent step: mean return of the last episodes that had ended}.
    """

    commit: str
    seconds: float
    command: str
    scores: dict[tuple[str, str], float]
    curve: dict[int, float]


Results = dict[Key, Result]

RUNS, SCORES, CURVES = "runs.csv", "scores.csv", "curves.csv"
COLUMNS = {
    RUNS: [*Key._fields, "commit", "seconds", "command"],
    SCORES: [*Key._fields, "measure", "value"],
    CURVES: [*Key._fields, "step", "return"],
}


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def _not_negative(text: str) -> float:
    if (number := _finite(text)) < 0:
        raise ValueError(f"{text} is below 0")
    return number


def _no_nan(text: str) -> float:
    if math.isnan(number := float(text)):
        raise ValueError(f"{text} is no number")
    return number


NUMBERS: dict[str, Callable[[str], int | float]] = {
    "seed": natural,
    "seconds": _not_negative,
    "value": _no_nan,  # infinity stands for what never happened
    "step": natural,
    "return": _finite,
}


def rounded(value: float) -> float:
    """A number as it is kept: six decimals."""
    return round(float(value), 6)


def read(folder: Path) -> Results:
    """The results that are kept in a folder; none where it holds no runs.csv.

    Raises UserError where a file is damaged, with its line.
    """
    found: Results = {}
    for line, (*key, commit, seconds, command) in _rows(folder / RUNS):
        if Key(*key) in found:
            raise _damaged(folder / RUNS, line, "a second row of the same run")
        found[Key(*key)] = Result(commit, seconds, command, {}, {})
    if found and not (folder / SCORES).exists():
        raise UserError(f"{folder} holds {RUNS} without {SCORES}: bring that back, or delete both")
    for name in (SCORES, CURVES):
        seen = set()
        for line, (run, seed, game, at, value) in _rows(folder / name):
            if (run, seed, game, at) in seen:
                raise _damaged(folder / name, line, f"a second row of the same {COLUMNS[name][3]}")
            seen.add((run, seed, game, at))
            if result := owner(found, Key(run, seed, game)):
                if name == SCORES:
                    result.scores[game, at] = value
                else:
                    result.curve[at] = value
    return found


def owner(results: Results, key: Key) -> Result | None:
    """The result that has the scores of a run, a seed and a game."""
    return results.get(key) or results.get(key._replace(game=""))


def merge(folder: Path, new: Results) -> Results:
    """Keep results, in place of older ones of the same keys, and return all that are kept.

    The caller holds the folder's lock. Whenever the process is killed, runs.csv names no run whose
    scores are not there.
    """
    old = read(folder)
    merged = dict(sorted((old | new).items()))
    if merged == old:
        return merged
    if replaced := {key for key in old if merged[key] != old[key]}:
        _write(folder, RUNS, {key: old[key] for key in old if key not in replaced})
    for name in (SCORES, CURVES, RUNS):
        _write(folder, name, merged)
    return merged


def _write(folder: Path, name: str, results: Results) -> None:
    made = table(name, results)
    if made.rows or name != CURVES or (folder / name).exists():
        write_text(folder / name, made.csv())


def table(name: str, results: Results) -> Table:
    """What RUNS, SCORES or CURVES holds of results."""
    rows = [row for key, result in results.items() for row in ROWS[name](key, result)]
    return Table(columns=list(COLUMNS[name]), rows=sorted(rows))


def _run(key: Key, of: Result) -> list[list]:
    return [[*key, of.commit, _text(of.seconds), of.command]]


def _scores(key: Key, of: Result) -> list[list]:
    return [
        [key.run, key.seed, game, measure, _text(value)]
        for (game, measure), value in of.scores.items()
    ]


def _curve(key: Key, of: Result) -> list[list]:
    return [[*key, step, _text(value)] for step, value in of.curve.items()]


ROWS = {RUNS: _run, SCORES: _scores, CURVES: _curve}


def _text(value: float) -> str:
    return f"{value:.15g}"


def _rows(path: Path) -> Iterator[tuple[int, list]]:
    """The rows below the head of a file, with the numbers of their lines; none without a file."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        return
    columns, reader = COLUMNS[path.name], csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = _read(path, reader)
    if next(rows, []) != columns:
        raise _damaged(path, 1, f"not {','.join(columns)}")
    for row in rows:
        if len(row) != len(columns):
            raise _damaged(path, reader.line_num, f"{len(row)} of {len(columns)} cells")
        try:
            cells = [NUMBERS.get(name, str)(cell) for name, cell in zip(columns, row, strict=True)]
        except ValueError as fault:
            raise _damaged(path, reader.line_num, str(fault)) from None
        yield reader.line_num, cells
    if not text.endswith("\n"):
        raise _damaged(path, reader.line_num, "its end is missing")


def _read(path: Path, reader: Any) -> Iterator[list[str]]:
    """The rows of a CSV reader. Raises UserError for what is no CSV, or a cell without an end."""
    try:
        yield from reader
    except csv.Error as fault:
        raise _damaged(path, reader.line_num, str(fault)) from None


def _damaged(path: Path, line: int, why: str) -> UserError:
    return UserError(
        f"{path} is damaged in line {line} ({why}): take the file from git or another copy, or "
        "delete the line, and what it was of runs again"
    )
