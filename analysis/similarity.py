"""How alike the blocks of encoders are: the pictures of a `fovea.figures.Similarity`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations_with_replacement

import numpy as np

from fovea.analysis.compare import game_name, mean
from fovea.analysis.figures import MUTED, PALETTE, finite, panel
from fovea.analysis.html import Html, amount, details, join, tag
from fovea.analysis.page import Page
from fovea.cka import cka, gram
from fovea.figures import Similarity

Grams = dict[tuple[str, str, str], list[np.ndarray]]
"""{(encoder, place, game): of each block}."""


def view(
    page: Page,
    name: str,
    arrays: Mapping[str, np.ndarray],
    encoders: Iterable[str],
    how: Similarity,
) -> Html:
    """A picture of every pair of encoders, block by block, and their last blocks as a table."""
    grams = {
        (encoder, place, game): [gram(block) for block in found]
        for encoder in encoders
        for place in how.places
        for game, found in _games(arrays, f"{encoder}/{place}/")
    }
    games = list(dict.fromkeys(game for _, _, game in grams))
    if not games:
        return Html("")
    known = list(dict.fromkeys(encoder for encoder, _, _ in grams))
    charts, rows = {}, []
    for game in games:
        for place in how.places:
            there = [encoder for encoder in known if (encoder, place, game) in grams]
            panels = []
            for one, other in combinations_with_replacement(there, 2):
                alike = _between(grams[one, place, game], grams[other, place, game])
                if alike.size > 1:
                    panels.append(_picture(one, other, alike))
                if one != other:
                    rows.append([one, other, game_name(game), place, float(alike[-1, -1])])
            if panels:
                charts[f"{game_name(game)}, {place}"] = panels
    # As many pictures for each choice: encoders without blocks are in the table alone.
    count = max(map(len, charts.values()), default=0)
    charts = {choice: of for choice, of in charts.items() if len(of) == count}
    columns = ["encoder", "other", "game", "place", "cka"]
    return join(
        tag("p", _sentence(rows)) if rows else "",
        page.chart(name, "Similarity of blocks", charts, choice="Of") if charts else "",
        details(
            f"The last blocks of two encoders ({amount(len(rows), 'row')})",
            page.table(f"{name}-encoders", columns, rows),
            open=True,
        )
        if rows
        else "",
    )


def _games(arrays: Mapping[str, np.ndarray], start: str) -> list[tuple[str, np.ndarray]]:
    return [(key.removeprefix(start), of) for key, of in arrays.items() if key.startswith(start)]


def _between(a: list[np.ndarray], b: list[np.ndarray]) -> np.ndarray:
    """(blocks of a, blocks of b)."""
    return np.array([[cka(x, y) for y in b] for x in a])


def _sentence(rows: list[list]) -> str:
    """Which two encoders are most alike, and which least, in the mean of games and places."""
    pairs: dict[tuple[str, str], list[float]] = {}
    for one, other, _, _, value in rows:
        pairs.setdefault((one, other), []).append(value)
    means = {pair: mean(values) for pair, values in pairs.items()}
    means = {pair: value for pair, value in means.items() if np.isfinite(value)}
    if not means:
        return ""
    most, least = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    parts = [
        f"{which} alike are {' and '.join(pair)} (CKA {means[pair]:.2f})"
        for which, pair in (("most", most), ("least", least))
    ]
    return f"After the last block, in the mean of games, {', '.join(parts[: len(means)])}."


def _picture(one: str, other: str, alike: np.ndarray) -> dict:
    trace = {
        "type": "heatmap",
        "z": [finite(row) for row in alike],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "#fff"], [1, PALETTE[0]]],
        "hovertemplate": f"{one} %{{y}}, {other} %{{x}}: %{{z:.2f}}<extra></extra>",
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickfont": {"color": MUTED, "size": 10}},
    }
    axis = {"dtick": 1 if max(alike.shape) <= 16 else 4}
    title = f"{one}, its blocks" if one == other else f"{one} and {other}"
    return panel(title, [trace], x=other, y=one, xaxis=axis, yaxis=axis)
