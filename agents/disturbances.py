"""Disturbances of a game: sensors that fail, corrupted screens, and other dynamics.

After PASTA (Boige et al. 2023, arXiv 2307.10936), which asks agents what is left of them when
sensors fail and when the dynamics change; of screens a sensor is a patch, one of the stack, or all
of a moment. What is drawn is a function of the seed, the episode and the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fovea.atari.emulator import SCREEN, Emulator, Settings
from fovea.atari.env import Sensor
from fovea.command import UserError
from fovea.disturbances import Disturbance
from fovea.pretrain.augment import Chain, augment, render
from fovea.pretrain.corruptions import CORRUPTIONS, corrupted
from fovea.seeding import Draws, Stream, key, uniform_by_index

SIDE = 14  # px of a patch
GRID = SCREEN[0] // SIDE, SCREEN[1] // SIDE


class Moments(NamedTuple):
    """Where N screens are of, for what is drawn."""

    seed: int
    episode: Tensor
    """(N,) int64."""
    step: Tensor
    """(N,) int64, since the episode began."""

    def each(self) -> list[tuple[int, int, int]]:
        """The numbers of every row."""
        return [
            (self.seed, *row) for row in zip(self.episode.tolist(), self.step.tolist(), strict=True)
        ]


Sense = Callable[[Tensor, Moments, float], Tensor]
"""From screens (N, stack, 84, 84) uint8, their moments and the disturbance's number."""


def patches(screens: Tensor, at: Moments, count: float) -> Tensor:
    """So many squares of 14 pixels are black, others in every episode."""
    places = GRID[0] * GRID[1]
    drawn = uniform_by_index(
        at.episode[:, None] * places + torch.arange(places), Stream.DISTURBANCES, at.seed, 0
    )
    broken = drawn.argsort(dim=1).argsort(dim=1) < count
    covered = broken.view(-1, *GRID).repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)
    return screens.masked_fill(covered[:, None], 0)


def frame(screens: Tensor, at: Moments, place: float) -> Tensor:
    """One screen of the stack is black, counted from the newest, which is 1."""
    if not 1 <= place <= screens.shape[1]:
        raise UserError(f"frame:{place:g} of a stack of {screens.shape[1]}: give one of them")
    changed = screens.clone()
    changed[:, -int(place)] = 0
    return changed


def blank(screens: Tensor, at: Moments, chance: float) -> Tensor:
    """Screens are black with a chance, and stay so while they are in the stack."""
    ages = torch.arange(screens.shape[1] - 1, -1, -1)
    moments = at.episode[:, None] * 2**32 + at.step[:, None] - ages
    failed = uniform_by_index(moments, Stream.DISTURBANCES, at.seed, 1) < chance
    return screens.masked_fill(failed[:, :, None, None], 0)


def rendered(screens: Tensor, at: Moments, variant: float) -> Tensor:
    """Grey levels are mapped by a table of the episode's own (see `pretrain.augment.render`)."""
    draws = Draws(Stream.DISTURBANCES, at.seed, 0, len(screens), "cpu", episode=at.episode)
    return render(screens, draws, variant=int(variant))


SEEN: Chain = [
    {"name": "blur", "sigma": [0.1, 1.0]},
    {"name": "colour_jitter", "brightness": 0.2, "contrast": 0.0},
    {"name": "cut_out", "sides": [0.1, 0.25], "grey": 0},
]


def augmented(screens: Tensor, at: Moments, share: float) -> Tensor:
    """Blur, brightness and cut-out, drawn anew for each stack, of a share of the stacks.

    In training this is RAD (Laskin et al. 2020, arXiv 2004.14990) with these augmentations.
    """
    chain = [{**link, "p": share} for link in SEEN]
    rows = [
        augment(row[None], Draws(Stream.DISTURBANCES, key(Stream.DISTURBANCES, *of), 0, 1, "cpu"),
                chain)
        for row, of in zip(screens, at.each(), strict=True)
    ]  # fmt: skip
    return torch.cat(rows)


def corrupt(name: str, screens: Tensor, at: Moments, severity: float) -> Tensor:
    """One of `pretrain.corruptions`, drawn anew for each stack."""
    rows = [
        corrupted(row[None], name, int(severity), *of)
        for row, of in zip(screens, at.each(), strict=True)
    ]
    return torch.cat(rows)


SENSES: Mapping[str, Sense] = {
    "patches": patches,
    "frame": frame,
    "blank": blank,
    **{name: partial(corrupt, name) for name in CORRUPTIONS},
    "render": rendered,
    "augmented": augmented,
}
"""What is seen under a disturbance; one of `fovea.disturbances` that is none of these is a setting
of the environment."""

SUITE = (
    "patches:9", "frame:1", "frame:2", "blank:0.25", "sticky:0.5", "frame_skip:2", "frame_skip:6",
    *(f"{name}:2" for name in CORRUPTIONS), "render:1",
)  # fmt: skip
"""What `all` stands for, beside another mode and difficulty of the game."""


def environment(asked: Sequence[Disturbance], seed: int) -> dict[str, object]:
    """The arguments of `atari.env.Envs` under these disturbances, those of the screens in turn."""
    settings = {one.name: one.number for one in asked if one.name not in SENSES}
    seeing = [(SENSES[one.name], one.number) for one in asked if one.name in SENSES]
    return settings | ({"sensor": sensor(seeing, seed)} if seeing else {})


def sensor(asked: Sequence[tuple[Sense, float]], seed: int) -> Sensor:
    """Sees screens under these disturbances, given by what they do and their numbers."""

    def see(screens: np.ndarray, episode: np.ndarray, step: np.ndarray) -> np.ndarray:
        at = Moments(seed, torch.from_numpy(episode.copy()), torch.from_numpy(step.copy()))
        seen = torch.from_numpy(screens)
        for sense, number in asked:
            seen = sense(seen, at, number)
        return seen.numpy()

    return see


def suite(game: str) -> list[str]:
    """All that an agent of a game is tried under: SUITE, another mode and another difficulty."""
    others = Emulator(game, Settings(), 0).variants._asdict()
    return [*SUITE, *(f"{name}:{of[1]}" for name, of in others.items() if len(of) > 1)]
