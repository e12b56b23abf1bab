"""Where objects are on the screen, from the console's memory, for some games.

Games of the table need nothing; others follow OCAtari's rules where it is installed (`ocatari`).

A box's left and top are an offset from a byte of the memory (or a number, where the object never
moves that way). The table was measured on frames of ale-py 0.12.1: the first column and row in the
object's colour, less the byte, are one number in 96 of 100 frames or more, or two next to each
other (Pong's player).
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from fovea.atari.emulator import SCREEN
from fovea.atari.games import find
from fovea.atari.ocatari import boxes_by_rules, has_rules

FRAME = (210, 160)  # height, width of what the console shows


class ObjectBox(NamedTuple):
    """An object and how its box follows from the memory; pixels are those of FRAME.

    Attributes:
        name: of the object.
        x_byte: address of the byte that its left edge follows; None where it never moves so.
        x_offset: added to that byte.
        y_byte: the same of its top edge.
        y_offset: the same.
        y_sign: of that byte, -1 where it counts upwards.
        width: of the box.
        height: of the box.
        top: a box that reaches above this row is not shown.
        bottom: nor is one that reaches below this.
    """

    name: str
    x_byte: int | None
    x_offset: int
    y_byte: int | None
    y_offset: int
    y_sign: int
    width: int
    height: int
    top: int
    bottom: int

    def boxes(self, ram: np.ndarray) -> np.ndarray:
        """(N, 4) int64 left, top, right, bottom for ram (N, 128); -1 where it is not shown."""
        ram = np.asarray(ram, np.int64)
        zero = np.zeros(len(ram), np.int64)
        left = self.x_offset + (zero if self.x_byte is None else ram[:, self.x_byte])
        top = self.y_offset + self.y_sign * (zero if self.y_byte is None else ram[:, self.y_byte])
        found = np.stack([left, top, left + self.width, top + self.height], axis=1)
        shown = (top >= self.top) & (found[:, 3] <= self.bottom)
        shown &= (left >= 0) & (found[:, 2] <= FRAME[1])
        return np.where(shown[:, None], found, -1)


@cache
def _table() -> dict[str, list[ObjectBox]]:
    table: dict[str, list[ObjectBox]] = {}
    source = resources.files("fovea.atari").joinpath("data/object_boxes.csv")
    with source.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            numbers: dict[str, Any] = {
                key: int(row[key]) if row[key] else None for key in ObjectBox._fields[1:]
            }
            table.setdefault(row["game"], []).append(ObjectBox(row["object"], **numbers))
    return table


def boxes(game: str, ram: np.ndarray) -> dict[str, np.ndarray]:
    """{object: (N, K, 4) int64 left, top, right, bottom}, pixels of FRAME; -1 where none is shown.

    At most K of a kind are on a screen at once. Empty where no object's place is known.

    Args:
        game: see `games.find`.
        ram: (N, 128) uint8 at the moments of the screens.
    """
    known = find(game)
    if has_rules(known.rom_id):
        return boxes_by_rules(known.rom_id, known.name, ram)
    return {one.name: one.boxes(ram)[:, None] for one in _table().get(known.rom_id, [])}


def covered(of: np.ndarray) -> np.ndarray:
    """(N, 84, 84) bool: which pixels of an agent's screen show a part of boxes (N, K, 4)."""
    shown = np.zeros((len(of), *SCREEN), bool)
    scale = np.array([SCREEN[1] / FRAME[1], SCREEN[0] / FRAME[0]])
    first = np.floor(np.maximum(of[..., :2], 0) * scale).astype(int)
    last = np.ceil(of[..., 2:] * scale).astype(int)
    for index, place in np.argwhere(of[..., 2:].min(-1) > 0):
        (left, top), (right, bottom) = first[index, place], last[index, place]
        shown[index, top:bottom, left:right] = True
    return shown


def on_objects(game: str, ram: np.ndarray) -> np.ndarray:
    """(N, 84, 84) bool: which pixels of an agent's screen show a part of any object's box."""
    every = list(boxes(game, ram).values())
    return covered(np.concatenate(every or [np.empty((len(ram), 0, 4), int)], axis=1))
