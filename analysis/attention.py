"""Attention pictures: screens with a map laid over, and how much of it falls on what moves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from fovea.analysis import compare
from fovea.analysis.compare import Comparison, game_name
from fovea.analysis.html import Html, amount, details, join, tag
from fovea.analysis.page import Page
from fovea.analysis.runs import Probe, Table

ON_MOTION = Comparison(
    along="block",
    choice="game",
    measures={
        "ratio": "On motion, over an even spread",
        "entropy": "Entropy, in nats, of a head's attention",
    },
    kind="lines",
)


def view(page: Page, name: str, probe: Probe) -> Html:
    """The pictures of all encoders on the same screens, and attention on motion by block."""
    parts = []
    arrays = {e: of for e in probe.encoders if (of := _of(probe.arrays, e))}
    if arrays:
        parts.append(_pictures(page, name, arrays))
    heads = probe.tables().get("heads")
    if heads and {"on_motion", "area", "block", "game", "entropy"} <= set(heads.columns):
        title = "Attention on what moves"
        parts += [
            tag("h4", title),
            tag(
                "p",
                "Share of a head's attention on patches that change from one screen to the next, "
                "over those patches' own share of the screen, mean over the heads of a block. At 1 "
                "a head looks at what moves no more than an even spread would.",
            ),
            compare.view(page, f"{name}-motion", title, _ratios(heads), ON_MOTION),
        ]
    return join(*parts)


def _of(arrays: Mapping[str, np.ndarray], encoder: str) -> dict[str, np.ndarray]:
    names = ("screens", "maps", "rollout", "game")
    found = {name: arrays[key] for name in names if (key := f"{encoder}/{name}") in arrays}
    return found if len(found) == len(names) else {}


def _ratios(heads: Table) -> Table:
    mass, area = (heads.columns.index(column) for column in ("on_motion", "area"))
    rows = [
        [*row, row[mass] / row[area] if row[mass] is not None and row[area] else None]
        for row in heads.rows
    ]
    return Table(heads.title, [*heads.columns, "ratio"], rows, heads.note)


def _pictures(page: Page, name: str, arrays: dict[str, dict[str, np.ndarray]]) -> Html:
    encoders = {encoder: _sprites(page, of) for encoder, of in arrays.items()}
    maps = list(dict.fromkeys(label for of in encoders.values() for label in of["maps"]))
    games = [game_name(str(game)) for game in next(iter(arrays.values()))["game"]]
    page.pictures[name] = {"games": games, "encoders": encoders}
    shown = [
        tag(
            "figure",
            tag("div", class_="picture", role="img", data_encoder=encoder),
            tag("figcaption", encoder or "the screen"),
        )
        for encoder in ["", *encoders]
    ]
    number = tag(
        "input", type="range", min="0", max=str(len(games) - 1), value="0", class_="screen"
    )
    return tag(
        "div",
        tag("h4", "Where the encoders look"),
        tag(
            "p",
            "Attention of the summary token over the newest screen, one square a patch, each map "
            "scaled from nothing to its own strongest patch. Rollout multiplies the attention "
            "of all blocks (Abnar and Zuidema 2020).",
        ),
        tag(
            "div",
            tag("label", "Map ", tag("select", *_options(maps), class_="map"), class_="pick"),
            tag("label", "Screen ", number, class_="pick"),
            tag("output", "", aria_live="polite"),
            tag("span", "none", tag("i", class_="ramp"), "strongest", class_="scale"),
            class_="controls",
        ),
        tag("div", *shown, class_="pictures"),
        details(
            f"All {amount(len(maps), 'map')} of one encoder",
            tag(
                "label",
                "Encoder ",
                tag("select", *_options(encoders), class_="encoder"),
                class_="pick",
            ),
            tag("div", class_="heads"),
            class_="every",
        ),
        class_="attention",
        data_pictures=name,
    )


def _options(texts) -> list[Html]:
    return [tag("option", text, value=text) for text in texts]


def _sprites(page: Page, of: dict[str, np.ndarray]) -> dict:
    """Two sheets of one encoder: screens in a row, and below each other its maps of them.

    Screens (M, H, W) uint8, maps (L, heads, M, gh, gw), rollout (M, gh, gw).
    """
    blocks, heads, count, *grid = of["maps"].shape
    rows = np.concatenate([of["rollout"][None], of["maps"].reshape(-1, count, *grid)])
    labels = [f"block {b}, head {h}" for b in range(blocks) for h in range(heads)]
    return {
        "screens": _sheet(page, "screens", of["screens"][None]),
        "sheet": _sheet(page, "maps", heat(rows)),
        "maps": ["rollout", *labels],
        "heads": heads,
        "strongest": [[divmod(int(m.argmax()), grid[1]) for m in row] for row in rows],
    }


def heat(maps: np.ndarray) -> np.ndarray:
    """Attention (..., gh, gw) as BGRA uint8 (..., gh, gw, 4): none is clear, the strongest bright.

    Each map is scaled by its own maximum; what is not finite counts as none.
    """
    import cv2

    maps = np.nan_to_num(maps.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    strongest = maps.max(axis=(-2, -1), keepdims=True)
    scaled = np.rint(255 * maps / np.where(strongest > 0, strongest, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    bgr = colours[:, 0][scaled]
    alpha = (0.8 * scaled).astype(np.uint8)
    return np.concatenate([bgr, alpha[..., None]], axis=-1)


def _sheet(page: Page, kind: str, tiles: np.ndarray) -> str:
    """Tiles (rows, columns, h, w) or (rows, columns, h, w, 4) uint8 as one PNG file of the page."""
    import cv2

    rows, columns, height, width = tiles.shape[:4]
    sheet = tiles.swapaxes(1, 2).reshape(rows * height, columns * width, *tiles.shape[4:])
    png = cv2.imencode(".png", sheet)[1].tobytes()
    return page.attach(f"media/{kind}-{hashlib.sha256(png).hexdigest()[:12]}.png", png)
