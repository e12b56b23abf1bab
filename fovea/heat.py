"""Heat maps over screens."""

from __future__ import annotations

import cv2
import numpy as np

STRENGTH = 0.7  # of the colour where a map is strongest


def colours(levels: np.ndarray) -> np.ndarray:
    """Levels (...) uint8, from dark to bright, as RGB (..., 3) uint8."""
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    return table[:, 0, ::-1][levels]


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A grey picture (H, W) uint8 with a map over it, as RGB (H, W, 3) uint8.

    The map (h, w) is float32 in [0, 1] and is stretched over the picture; the stronger it is, the
    less of the picture is left.
    """
    height, width = picture.shape
    smooth = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    share = STRENGTH * smooth[..., None]
    coloured = colours((255 * smooth).astype(np.uint8))
    return (picture[..., None] * (1 - share) + coloured * share).astype(np.uint8)
