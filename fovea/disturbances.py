"""Names and numbers of disturbances of a game, which agents play under and studies ask for.

What each does: `fovea.agents.disturbances`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fovea.command import UserError, nearest


class Kind(NamedTuple):
    """The numbers that a kind of disturbance takes."""

    low: float
    high: float
    whole: bool
    """Whether it is a whole one."""


SEVERITY = Kind(1, 2, True)
KINDS: Mapping[str, Kind] = {
    # The sensor fails.
    "patches": Kind(1, 36, True),
    "frame": Kind(1, 16, True),
    "blank": Kind(0, 1, False),
    # Screens look otherwise.
    "blur": SEVERITY,
    "brightness": SEVERITY,
    "cut_out": SEVERITY,
    "noise": SEVERITY,
    "quantise": SEVERITY,
    "downscale": SEVERITY,
    "render": Kind(0, 2**31, True),
    "augmented": Kind(0, 1, False),
    # The dynamics change.
    "sticky": Kind(0, 1, False),
    "frame_skip": Kind(1, 60, True),
    "mode": Kind(0, 255, True),
    "difficulty": Kind(0, 255, True),
    "permuted": Kind(1, 1, True),
}


class Disturbance(NamedTuple):
    """A kind and its number."""

    name: str
    number: float

    @staticmethod
    def read(text: str) -> Disturbance:
        """Of NAME:NUMBER. Raises UserError for what is none."""
        name, _, number = text.partition(":")
        if name not in KINDS:
            raise UserError(
                f"unknown disturbance {text!r}{nearest(name, KINDS, 1)}: give NAME:NUMBER with one "
                f"of {', '.join(KINDS)}"
            )
        kind = KINDS[name]
        try:
            value = int(number) if kind.whole else float(number)
        except ValueError:
            value = -1
        if not kind.low <= value <= kind.high:
            what = "a whole number" if kind.whole else "a number"
            raise UserError(
                f"disturbance {text!r}: give {what} from {kind.low:g} to {kind.high:g}, as "
                f"{name}:{kind.low:g}"
            )
        return Disturbance(name, value)

    def __str__(self) -> str:
        return f"{self.name}:{self.number:g}"
