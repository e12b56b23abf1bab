"""What the bytes of the console's memory mean (AtariARI; Anand et al. 2019, table under MIT)."""

from __future__ import annotations

import csv
import math
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fovea.atari.games import find

CATEGORIES = (
    "agent_localization",
    "small_object_localization",
    "other_localization",
    "score_clock_lives_display",
    "misc",
)
MIN_ENTROPY = 0.6  # nats; as AtariARI leaves out bytes that hardly ever change


class Variable(NamedTuple):
    """One byte of the 128: its name, its address 0..127 and which of CATEGORIES it belongs to."""

    name: str
    byte: int
    category: str


@cache
def _table() -> dict[str, list[Variable]]:
    table: dict[str, list[Variable]] = {}
    with (
        resources.files("fovea.atari").joinpath("data/atari_ram.csv").open(encoding="utf-8") as file
    ):
        for row in csv.DictReader(file):
            variable = Variable(row["variable"], int(row["byte"]), row["category"])
            table.setdefault(row["game"], []).append(variable)
    return table


def games() -> list[str]:
    """The rom ids of the 24 games whose memory is described."""
    return sorted(_table())


def variables(game: str) -> list[Variable]:
    """The variables of a game in the table's order; empty for a game that it does not describe."""
    return list(_table().get(find(game).rom_id, []))


def varied(game: str, ram: ArrayLike) -> list[Variable]:
    """The variables of a game whose bytes in ram (N, 128) have an entropy above MIN_ENTROPY."""
    ram = np.asarray(ram)
    return [v for v in variables(game) if entropy(ram[:, v.byte]) > MIN_ENTROPY]


def entropy(values: ArrayLike) -> float:
    """Of the values of a byte (N,), in nats."""
    counts = np.bincount(values)
    shares = counts[counts > 0] / counts.sum()
    return math.fsum(-shares * np.log(shares))
