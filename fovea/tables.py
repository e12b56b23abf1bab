"""Tables of names and numbers: what probes, studies and sequences of games write."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Self

from fovea.foreign import printable
from fovea.schema import Record

Cell = str | int | float | None


@dataclass
class Table(Record):
    """A table whose cells are text or numbers; None and NaN stand where there is no number.

    `pandas.DataFrame(table.records())` makes a data frame of it, and a notebook shows it.

    Attributes:
        name: what programs find it by, unique among the tables of a result.
        title: for people.
        columns: their names.
        rows: of cells, each as long as `columns`.
        note: what a reader has to know, for below the table.
    """

    name: str = ""
    title: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    note: str = ""

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Self:
        """Raises ValueError for a row that does not fit the columns, or is of anything else."""
        table = super().read(found)
        table.title = table.title or table.name
        table.check()
        return table

    def check(self) -> None:
        """Raise ValueError for a row that is no row of it."""
        for row in self.rows:
            if len(row) != len(self.columns) or not all(
                cell is None or isinstance(cell, str | int | float) for cell in row
            ):
                raise ValueError(f"table {self.name} has the odd row {row}")

    def records(self) -> list[dict[str, Cell]]:
        """A dict for each row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_dict(self) -> dict[str, list[Cell]]:
        """A list for each column."""
        return {name: [row[k] for row in self.rows] for k, name in enumerate(self.columns)}

    def csv(self) -> str:
        """The text of a CSV file."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([self.columns, *self.rows])
        return printable(file.getvalue())

    def markdown(self) -> str:
        """A Markdown table."""
        return "\n".join(markdown(self.columns, [list(map(shown, row)) for row in self.rows]))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in self.rows)
        caption = f"<caption>{escape(self.title)}</caption>"
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return f"<table>{caption}<tr>{head}</tr>{rows}</table>{note}"


def shown(value: Cell) -> str:
    """A cell as people read it: a number with four digits, and nothing where there is none."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _cell(value: Cell) -> str:
    return f"<td>{escape(shown(value))}</td>"


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Rows of cells as lines of plain text; the columns of these numbers end at the right."""
    widths, ends = [max(map(len, column)) for column in zip(*rows, strict=True)], {*right}
    return [
        "  ".join(
            cell.rjust(width) if number in ends else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    head, *body = (f"| {' | '.join(row)} |" for row in (columns, *rows))
    return [head, "|" + "---|" * len(columns), *body]


def room() -> int | None:
    """Letters in a line of what stdout leads to: COLUMNS, or the terminal's. None: any number."""
    if (said := os.environ.get("COLUMNS", "")).isdecimal() and int(said):
        return int(said)
    if not sys.stdout.isatty():
        return None
    return os.get_terminal_size(sys.stdout.fileno()).columns or None


def print_lines(lines: Iterable[str]) -> None:
    """Print lines; where one is wider than the terminal, columns stand close and lines are broken.

    They are broken between words, so that a long path stays in one piece.
    """
    lines, most = [*lines], room()
    if most and max(map(len, lines), default=0) > most:
        lines = [part for line in lines for part in _folded(line, most)]
    for line in lines:
        print(line)


def _folded(line: str, most: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(
        re.sub(" {2,}", "  ", line.strip()),
        most,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
