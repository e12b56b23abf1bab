"""Many small pictures as one file, of which the page shows one at a time."""

from __future__ import annotations

import hashlib

import numpy as np

from fovea.analysis.page import Page


def sheet(page: Page, kind: str, tiles: np.ndarray) -> str:
    """Tiles (rows, columns, h, w) or (rows, columns, h, w, 4) uint8 as one PNG file of the page."""
    import cv2

    rows, columns, height, width = tiles.shape[:4]
    whole = tiles.swapaxes(1, 2).reshape(rows * height, columns * width, *tiles.shape[4:])
    png = cv2.imencode(".png", whole, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    return page.attach(f"media/{kind}-{hashlib.sha256(png).hexdigest()[:12]}.png", png)


def grid(page: Page, kind: str, screens: np.ndarray, columns: int = 20) -> dict[str, object]:
    """Screens (N, h, w) uint8 as a sheet: its file, and how many columns and rows it has."""
    rows = -(-len(screens) // columns)
    tiles = np.zeros((rows * columns, *screens.shape[1:]), np.uint8)
    tiles[: len(screens)] = screens
    tiles = tiles.reshape(rows, columns, *screens.shape[1:])
    return {"sheet": sheet(page, kind, tiles), "columns": columns, "rows": rows}
