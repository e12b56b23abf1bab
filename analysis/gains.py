"""What encoders gained and lost against a reference: the matrix of a `fovea.figures.Gains`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fovea import by_episode
from fovea.analysis.compare import game_name, label
from fovea.analysis.figures import MUTED, REFERENCES, finite, panel, plain
from fovea.analysis.html import Html, amount, details, join, tag, words
from fovea.analysis.page import Page
from fovea.figures import Gains
from fovea.results import ProbeResult

NAMED = 3  # the worst losses of a sentence
LOSS, GAIN = "#b2381a", "#0a6c9b"
ABOUT = (
    "The score of an encoder minus that of {reference}, which may be its own untrained start; "
    "scores below 0 count as 0, since nothing is read then. Intervals are 95 % of a bootstrap over "
    "test episodes, the same ones for both; a game of fewer than {enough} has none. Of many cells "
    "one in forty lies surely below zero by chance alone."
)


class Cell(NamedTuple):
    """What one encoder gained, or lost, in one cell of the matrix."""

    game: str
    row: str
    category: str
    across: tuple[str, ...]
    gain: float
    low: float
    high: float
    score: float
    reference: float

    @property
    def column(self) -> str:
        """The name of its column."""
        return " ".join(self.across)


def cells(
    result: ProbeResult, arrays: Mapping[str, np.ndarray], how: Gains, encoder: str
) -> list[Cell]:
    """All that both the encoder and the reference have."""
    own, other = (
        by_episode.scores_of(result, arrays, name, how.table, how.measure)
        for name in (encoder, how.reference)
    )
    if not own:
        return []
    names = by_episode.keys(result.tables(encoder)[how.table])
    found = []
    for key in own:
        if key in other:
            record = dict(zip(names, key, strict=True))
            # Of the one as of the other, 0 is nothing; NaN stays.
            gain = np.maximum(own[key], 0) - np.maximum(other[key], 0)
            found.append(
                Cell(
                    record["game"],
                    record[how.row],
                    record.get("category", ""),
                    tuple(str(record[name]) for name in how.across),
                    float(gain[0]),
                    *by_episode.interval(gain),
                    float(own[key][0]),
                    float(other[key][0]),
                )
            )
    return found


def view(
    page: Page, name: str, result: ProbeResult, arrays: Mapping[str, np.ndarray], how: Gains
) -> Html:
    """A sentence on each encoder, the matrix as a picture and as a table, and all intervals."""
    found = {
        encoder: of
        for encoder in result.encoders
        if encoder not in REFERENCES and (of := cells(result, arrays, how, encoder))
    }
    if not found:
        return Html("")
    games = list(dict.fromkeys(cell.game for of in found.values() for cell in of))
    places = dict.fromkeys(cell.across for of in found.values() for cell in of)
    first = list(dict.fromkeys(place[0] for place in places))
    # Side by side what has the first in common: a read-out after every block.
    columns = [" ".join(place) for place in sorted(places, key=lambda place: first.index(place[0]))]
    pictures = {
        game_name(game): [_picture(encoder, of, game, columns) for encoder, of in found.items()]
        for game in games
    }
    about = ABOUT.format(reference=how.reference, enough=by_episode.ENOUGH)
    each = [[encoder, *_row(cell)] for encoder, of in found.items() for cell in _worst_first(of)]
    head = ["encoder", "game", how.row, "category", " ".join(how.across)]
    head += ["gain", "low", "high", how.measure, f"{how.measure} of {how.reference}"]
    return join(
        tag("h4", how.title) if how.title else "",
        tag("p", about),
        tag("ul", *(tag("li", sentence(encoder, of, how)) for encoder, of in found.items())),
        page.chart(name, how.title, pictures),
        page.table(f"{name}-matrix", *_matrix(found, how.row, columns)),
        details(
            f"Each with its interval, the worst first ({amount(len(each), 'row')})",
            page.table(f"{name}-intervals", head, each),
        ),
    )


def sentence(encoder: str, of: list[Cell], how: Gains) -> str:
    """The worst losses of an encoder in words, those that are sure before all others."""
    sure = _worst_first([cell for cell in of if cell.high < 0])
    better = sum(cell.low > 0 for cell in of)
    among = f"of {amount(len(of), 'cell')} {better:,} gained and {len(sure):,} lost surely"
    if sure:
        return f"{encoder} against {how.reference}: {among}; it lost most {words(_named(sure))}."
    lost = [cell for cell in _worst_first(of) if cell.gain < 0]
    if not lost:
        return f"{encoder} against {how.reference}: {among}; it lost nothing."
    return (
        f"{encoder} against {how.reference}: {among}; the largest losses, none of them sure, are "
        f"{words(_named(lost))}."
    )


def _named(of: list[Cell]) -> list[str]:
    """The worst cell of each of NAMED rows: one variable is not named once for each block."""
    rows: dict[tuple[str, str], Cell] = {}
    for cell in of:
        rows.setdefault((cell.game, cell.row), cell)
    return [
        f"{cell.row} of {game_name(cell.game)} ({label(cell.column)}: {_signed(cell.gain)}"
        + (f", {_signed(cell.low)} to {_signed(cell.high)})" if np.isfinite(cell.low) else ")")
        for cell in list(rows.values())[:NAMED]
    ]


def _worst_first(of: list[Cell]) -> list[Cell]:
    return sorted(of, key=lambda cell: (np.isnan(cell.gain), cell.gain))


def _row(cell: Cell) -> list:
    place = [game_name(cell.game), cell.row, cell.category, cell.column]
    return [*place, cell.gain, cell.low, cell.high, cell.score, cell.reference]


def _matrix(
    found: Mapping[str, list[Cell]], row: str, columns: list[str]
) -> tuple[list[str], list[list]]:
    """Columns and rows: the gain of each (encoder, game, row) in each column."""
    rows: dict[tuple, dict[str, float]] = {}
    for encoder, of in found.items():
        for cell in of:
            place = (encoder, game_name(cell.game), cell.row, label(cell.category))
            rows.setdefault(place, {})[cell.column] = cell.gain
    head = ["encoder", "game", row, "category", *map(label, columns)]
    return head, [[*place, *(of.get(c) for c in columns)] for place, of in rows.items()]


def _picture(encoder: str, of: list[Cell], game: str, columns: list[str]) -> dict:
    """One encoder in one game: rows by columns, losses red, gains blue."""
    mine = {(cell.row, cell.column): cell for cell in of if cell.game == game}
    rows = list(dict.fromkeys(row for row, _ in mine))
    none = (float("nan"),) * 3
    known = {place: (cell.gain, cell.low, cell.high) for place, cell in mine.items()}
    values = [[known.get((r, c), none) for c in columns] for r in rows]
    trace = {
        "type": "heatmap",
        "x": [plain(label(c)) for c in columns],
        "y": [plain(r) for r in rows],
        "z": [finite(v[0] for v in row) for row in values],
        "text": [[_interval(*v) for v in row] for row in values],
        "hovertemplate": "%{y}, %{x}: %{text}<extra></extra>",
        "zmin": -0.5,
        "zmax": 0.5,
        "colorscale": [[0, LOSS], [0.5, "#fff"], [1, GAIN]],
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickfont": {"color": MUTED, "size": 10}},
    }
    return panel(
        encoder,
        [trace],
        height=160 + 18 * len(rows),
        yaxis={"autorange": "reversed", "dtick": 1},
        xaxis={"type": "category", "tickangle": -90},
    )


def _interval(gain: float, low: float, high: float) -> str:
    known = f" ({_signed(low)} to {_signed(high)})" if np.isfinite(low) else ""
    return f"{_signed(gain)}{known}" if np.isfinite(gain) else ""


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
