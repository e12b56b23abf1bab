"""Maps of features: screens as points, coloured by what is known of them (`EmbeddingMap`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from fovea.analysis.compare import game_name
from fovea.analysis.figures import finite, panel, plain
from fovea.analysis.html import Html, amount, details, tag
from fovea.analysis.page import Page
from fovea.analysis.sheets import grid
from fovea.atari.games import GAMES
from fovea.atari.ram import variables

NAMES = ("place", "screens", "game", "episode", "step", "reward", "ram")
COMPONENTS = ("first component", "second component")
PLACES = {  # arrays of places within a game: how their panel is called, and its axes
    "place": ("", COMPONENTS),
    "umap": (", UMAP", ("", "")),
}
TOGETHER = "together"  # the places of all games on the same axes
ALL_GAMES = "all games"
MOST = 600  # points of all games together
SCALE = "Viridis"  # is read by most who do not see all colours, and printed
Arrays = dict[str, np.ndarray]


def view(page: Page, name: str, arrays: Mapping[str, np.ndarray], encoders: Iterable[str]) -> Html:
    """The maps of all encoders of the same screens; nothing where there are none."""
    found = {encoder: of for encoder in encoders if (of := _of(arrays, encoder))}
    if not found:
        return Html("")
    first = next(iter(found.values()))
    found = {e: of for e, of in found.items() if np.array_equal(of["ram"], first["ram"])}
    games = list(dict.fromkeys(first["game"].tolist()))
    figures, known = {}, {}
    for game in games:
        here = first["game"] == game
        figures[game_name(game)] = [
            _panel(f"{encoder}{what}", of[places][here], axes)
            for places, (what, axes) in PLACES.items()
            for encoder, of in found.items()
            if places in of
        ]
        known[game_name(game)] = {
            "labels": {key: finite(column) for key, column in _labels(first, game).items()},
            **grid(page, "map", first["screens"][here]),
        }
    if TOGETHER in first:
        some = np.unique(np.linspace(0, len(first["game"]) - 1, MOST).round().astype(int))
        figures[ALL_GAMES] = [
            _panel(encoder, of[TOGETHER][some], COMPONENTS)
            for encoder, of in found.items()
            if TOGETHER in of
        ]
        known[ALL_GAMES] = {
            "labels": {"game": [game_name(game) for game in first["game"][some]]},
            **grid(page, "map", first["screens"][some]),
        }
    page.pictures[name] = known
    columns, rows = _rows(found, games)
    return tag(
        "div",
        tag("div",
            tag("label", "Coloured by ", tag("select", class_="label"), class_="pick"),
            tag("label", "Screen ",
                tag("input", type="range", min="0", value="0", class_="screen"), class_="pick"),
            tag("button", "Play", type="button", class_="download play"),
            tag("output", "", aria_live="polite"),
            class_="controls"),
        tag("p", "Pointing at a point shows its screen, and so does the slider; it has a ring.",
            class_="fine"),
        tag("div", class_="picture", role="img"),
        page.chart(name, "Map of the features", figures),
        details(f"The points as text ({amount(len(rows), 'row')})",
                page.table(f"{name}-points", columns, rows)),
        class_="map-of-features",
        data_pictures=name,
    )  # fmt: skip


def _of(arrays: Mapping[str, np.ndarray], encoder: str) -> Arrays:
    names = (*NAMES, *PLACES, TOGETHER)
    found = {name: arrays[key] for name in names if (key := f"{encoder}/{name}") in arrays}
    return found if found.keys() >= {*NAMES} else {}


def _panel(title: str, place: np.ndarray, axes: tuple[str, str]) -> dict:
    trace = {
        "type": "scatter",
        "mode": "markers",
        "name": plain(title),
        "x": finite(place[:, 0]),
        "y": finite(place[:, 1]),
        "marker": {"size": 6, "colorscale": SCALE, "line": {"width": 0}},
        "hovertemplate": "%{x:.3~g}, %{y:.3~g}<extra></extra>",
    }
    return panel(title, [trace], x=axes[0], y=axes[1], height=320)


def _labels(of: Arrays, game: str) -> dict[str, np.ndarray]:
    """What points can be coloured by: (points,) each, of those that differ."""
    here = of["game"] == game
    ram = of["ram"][here]
    known = variables(game) if game in GAMES else []
    labels = {
        "time in the episode": of["step"][here],
        "episode": of["episode"][here],
        "reward": of["reward"][here],
        **{v.name.replace("_", " "): ram[:, v.byte] for v in known},
    }
    varied = {key: column for key, column in labels.items() if len(np.unique(column)) > 1}
    return varied or {"time in the episode": of["step"][here]}


def _rows(found: dict[str, Arrays], games: list[str]) -> tuple[list[str], list[list]]:
    rows = []
    for encoder, of in found.items():
        for game in games:
            here = of["game"] == game
            columns = (of["place"][here, 0], of["place"][here, 1], of["episode"][here],
                       of["step"][here], of["reward"][here])  # fmt: skip
            rows += [[encoder, game_name(game), *(c.item() for c in row)]
                     for row in zip(*columns, strict=True)]  # fmt: skip
    return ["encoder", "game", "first", "second", "episode", "step", "reward"], rows
