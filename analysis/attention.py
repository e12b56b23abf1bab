"""Attention pictures: screens with a map laid over (`fovea.figures.AttentionMaps`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np

from fovea.analysis.compare import game_name
from fovea.analysis.html import Html, amount, details, tag
from fovea.analysis.page import Page
from fovea.analysis.sheets import sheet
from fovea.figures import AttentionMaps
from fovea.tables import Table

NEEDED = ("screens", "maps", "game")


def view(
    page: Page,
    name: str,
    arrays: Mapping[str, np.ndarray],
    encoders: Iterable[str],
    how: AttentionMaps,
) -> Html:
    """The pictures of all encoders on the same screens; nothing where there are none."""
    found = {encoder: of for encoder in encoders if (of := _of(arrays, encoder))}
    return _pictures(page, name, found, how) if found else Html("")


def _of(arrays: Mapping[str, np.ndarray], encoder: str) -> dict[str, np.ndarray]:
    names = (*NEEDED, "rollout", "labels")
    found = {name: arrays[key] for name in names if (key := f"{encoder}/{name}") in arrays}
    return found if found.keys() >= {*NEEDED} else {}


def _pictures(
    page: Page, name: str, arrays: dict[str, dict[str, np.ndarray]], how: AttentionMaps
) -> Html:
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
        tag("h4", how.title),
        tag("p", how.about),
        tag(
            "div",
            tag("label", "Map ", tag("select", *_options(maps), class_="map"), class_="pick"),
            tag("label", "Screen ", number, class_="pick"),
            tag("button", "Play", type="button", class_="download play"),
            tag("output", "", aria_live="polite"),
            tag("span", "none", tag("i", class_="ramp"), "strongest", class_="scale"),
            class_="controls",
        ),
        tag("div", *shown, class_="pictures"),
        _as_text(page, name, arrays, encoders, games),
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


def _as_text(
    page: Page,
    name: str,
    arrays: dict[str, dict[str, np.ndarray]],
    sprites: dict[str, dict],
    games: list[str],
) -> Html:
    """Where each map is strongest, as a table, and a file with all values of all maps.

    A line of the file is a map: its values row by row, from the top left.
    """
    strongest, cells = [], []
    for encoder, of in arrays.items():
        rows = _rows(of)
        flat = rows.reshape(-1, rows.shape[2] * rows.shape[3])
        looks = np.nan_to_num(flat).clip(0)
        shares = looks.max(1) / looks.sum(1).clip(1e-30)
        places = zip(*np.unravel_index(looks.argmax(1), rows.shape[2:]), shares, strict=True)
        shown = product(sprites[encoder]["maps"], enumerate(games, start=1))
        for (label, (screen, game)), values, (row, column, share) in zip(
            shown, np.char.mod("%.3g", flat).tolist(), places, strict=True
        ):
            own = [encoder, game, screen, label]
            strongest.append([*own, int(row) + 1, int(column) + 1, float(share)])
            cells.append([*own, *values])
    columns = ["encoder", "game", "screen", "map"]
    width = max(map(len, cells))
    table = Table(
        columns=[*columns, *(f"value {k}" for k in range(1, width - len(columns) + 1))],
        rows=[[*row, *[""] * (width - len(row))] for row in cells],
    )
    link = page.attach(f"data/{name}-maps.csv", table.csv().encode())
    return tag(
        "div",
        tag("a", "Download the maps", href=link, download=True, class_="download"),
        page.folded("The strongest patch of each map as text", f"{name}-strongest",
                    [*columns, "row", "column", "share of the map"], strongest),
        class_="data",
    )  # fmt: skip


def _options(texts) -> list[Html]:
    return [tag("option", text, value=text) for text in texts]


def _sprites(page: Page, of: dict[str, np.ndarray]) -> dict:
    """Two sheets of one encoder: screens in a row, and below each other its maps of them.

    Screens (M, H, W) uint8, maps (L, heads, M, gh, gw); rollout (M, gh, gw) and labels (L * heads,)
    where there are any.
    """
    rows = _rows(of)
    blocks, heads, *_, width = of["maps"].shape
    numbered = [f"block {b}, head {h}" for b in range(blocks) for h in range(heads)]
    labels = list(map(str, of.get("labels", numbered)))
    labels = [*(["rollout"] if "rollout" in of else []), *labels]
    return {
        "screens": sheet(page, "screens", of["screens"][None]),
        "sheet": sheet(page, "maps", transparent(rows)),
        "maps": labels,
        "heads": heads,
        "strongest": [[divmod(int(m.argmax()), width) for m in row] for row in rows],
    }


def _rows(of: dict[str, np.ndarray]) -> np.ndarray:
    """(maps, M, gh, gw): the rollout, where there is one, and the map of each block and head."""
    maps = of["maps"].reshape(-1, *of["maps"].shape[2:])
    return np.concatenate([of["rollout"][None], maps]) if "rollout" in of else maps


def transparent(maps: np.ndarray) -> np.ndarray:
    """Attention (..., gh, gw) as BGRA uint8 (..., gh, gw, 4): none is clear, the strongest bright.

    Each map is scaled by its own maximum; what is not finite counts as none.
    """
    from fovea.heat import colours

    maps = np.nan_to_num(maps.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    strongest = maps.max(axis=(-2, -1), keepdims=True)
    scaled = np.rint(255 * maps / np.where(strongest > 0, strongest, 1)).astype(np.uint8)
    alpha = (0.8 * scaled).astype(np.uint8)
    return np.concatenate([colours(scaled)[..., ::-1], alpha[..., None]], axis=-1)
