"""A film of an episode: the screen, and next to it the screen with the encoder's attention."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from fovea import heat
from fovea.agents.why import Reasons, bars
from fovea.atari.film import (
    STEPS_PER_SECOND,
    coloured,
    enlarged,
    side_by_side,
    titled,
    write_film,
)
from fovea.command import UserError
from fovea.pretrain.encoders.attention import attention_map, on_screen
from fovea.pretrain.encoders.encoder import Encoder


class Moment(NamedTuple):
    """What an agent saw at a step, and its score."""

    screens: np.ndarray
    """(stack, H, W) uint8, oldest first."""
    score: float
    """Raw reward of the episode so far."""
    action: int = 0
    """That it took then."""


class Gaze(NamedTuple):
    """Where an encoder looks during a film."""

    maps: np.ndarray
    """(T, H, W) float32, 0 where its attention is weakest and 1 where it is strongest."""
    weakest: float
    """Attention at 0, as a multiple of an even share over the patches."""
    strongest: float
    """The same at 1."""
    what: str = "attention"
    """Or the method of other maps."""


def film(path: Path, moments: list[Moment], encoder: Encoder, why: Reasons | None = None) -> None:
    """Write a WebM film (VP8) of `moments`, whole or not at all.

    The colour is the attention of the CLS token in the last block, averaged over heads, scaled from
    the weakest to the strongest of the whole film; the picture names both numbers, so that nearly
    even attention is not mistaken for a focus. For an encoder without attention only the screen is
    filmed, and a line says so.

    With `why` the colour is what spoke for the action taken, and bars show the scores of all.
    """
    gaze: Gaze | None
    try:
        if why is None:
            gaze = attention(encoder, np.stack([moment.screens for moment in moments]))
        else:
            shares = why.maps / np.maximum(why.maps.sum((1, 2), keepdims=True), 1e-30)
            gaze = scaled(encoder, shares)._replace(what=why.method.replace("_", "-"))
    except UserError as reason:
        print(f"no attention in the film: {reason}")
        gaze = None
    write_film(path, pictures(moments, gaze, why))


def attention(encoder: Encoder, screens: np.ndarray) -> Gaze:
    """Where the encoder looks in (T, stack, H, W) uint8.

    Raises UserError where it has no attention.
    """
    return scaled(encoder, attention_map(encoder, screens))


def scaled(encoder: Encoder, maps: np.ndarray) -> Gaze:
    """Maps (T, h, w), each with a sum of at most 1, from the weakest to the strongest of all."""
    maps = maps[0].size * maps
    weakest, strongest = np.quantile(maps, [0.005, 0.995])
    maps = np.clip((maps - weakest) / max(strongest - weakest, 1e-6), 0, 1)
    return Gaze(on_screen(encoder, maps), float(weakest), float(strongest))


def pictures(
    moments: list[Moment], gaze: Gaze | None, why: Reasons | None = None
) -> Iterator[np.ndarray]:
    """The frames of the film, (height, width, 3) uint8 in OpenCV's order of colours."""
    for number, moment in enumerate(moments):
        screen = enlarged(moment.screens[-1])
        score = f"score {moment.score:g}   {number / STEPS_PER_SECOND:.1f} s"
        stood = titled(coloured(screen), score)
        if gaze is None:
            yield stood
            continue
        strength = f"{gaze.what} {gaze.weakest:.2f} to {gaze.strongest:.2f} of an even share"
        seen = cv2.cvtColor(heat.overlay(screen, gaze.maps[number]), cv2.COLOR_RGB2BGR)
        shown = [stood, titled(seen, strength)]
        if why is not None:
            shown.append(titled(bars(why, number), why.shown.title))
        yield side_by_side(*shown)
