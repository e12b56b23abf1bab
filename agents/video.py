"""A film of an episode: the screen, and next to it the screen with the encoder's attention."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np

from fovea import heat
from fovea.command import UserError
from fovea.files import replacing
from fovea.pretrain.encoders.attention import attention_map, on_screen
from fovea.pretrain.encoders.encoder import Encoder

STEPS_PER_SECOND = 15  # 60 frames a second, four to a step: the speed that people play at
SIDE = 336  # px; four times the screen
BAND, GAP = 32, 8  # px; of the text above, and between the two screens


class Moment(NamedTuple):
    """What an agent saw at a step, and its score."""

    screens: np.ndarray
    """(stack, H, W) uint8, oldest first."""
    score: float
    """Raw reward of the episode so far."""


class Gaze(NamedTuple):
    """Where an encoder looks during a film."""

    maps: np.ndarray
    """(T, H, W) float32, 0 where its attention is weakest and 1 where it is strongest."""
    weakest: float
    """Attention at 0, as a multiple of an even share over the patches."""
    strongest: float
    """The same at 1."""


def film(path: Path, moments: list[Moment], encoder: Encoder) -> None:
    """Write a WebM film (VP8) of `moments`, whole or not at all.

    The colour is the attention of the CLS token in the last block, averaged over heads, scaled from
    the weakest to the strongest of the whole film; the picture names both numbers, so that nearly
    even attention is not mistaken for a focus. For an encoder without attention only the screen is
    filmed, and a line says so.
    """
    try:
        gaze = attention(encoder, np.stack([moment.screens for moment in moments]))
    except UserError as reason:
        print(f"no attention in the film: {reason}")
        gaze = None
    # OpenCV chooses the container by the name's ending.
    with replacing(path) as temporary, TemporaryDirectory(dir=path.parent) as draft:
        name = f"{draft}/film.webm"
        written = write(name, pictures(moments, gaze))
        if frames(name) < written:
            # OpenCV's writer does not report a full disk.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.replace(name, temporary)


def attention(encoder: Encoder, screens: np.ndarray) -> Gaze:
    """Where the encoder looks in (T, stack, H, W) uint8.

    Raises UserError where it has no attention.
    """
    maps = attention_map(encoder, screens)
    maps = maps[0].size * maps
    weakest, strongest = np.quantile(maps, [0.005, 0.995])
    maps = np.clip((maps - weakest) / max(strongest - weakest, 1e-6), 0, 1)
    return Gaze(on_screen(encoder, maps), float(weakest), float(strongest))


def pictures(moments: list[Moment], gaze: Gaze | None) -> Iterator[np.ndarray]:
    """The frames of the film, (height, width, 3) uint8 in OpenCV's order of colours."""
    for number, moment in enumerate(moments):
        screen = enlarged(moment.screens[-1])
        plain = cv2.cvtColor(screen, cv2.COLOR_GRAY2BGR)
        stood = titled(plain, f"score {moment.score:g}   {number / STEPS_PER_SECOND:.1f} s")
        if gaze is None:
            yield stood
            continue
        strength = f"attention {gaze.weakest:.2f} to {gaze.strongest:.2f} of an even share"
        coloured = cv2.cvtColor(heat.overlay(screen, gaze.maps[number]), cv2.COLOR_RGB2BGR)
        looked = titled(coloured, strength)
        yield np.concatenate([stood, np.zeros((len(stood), GAP, 3), np.uint8), looked], axis=1)


def titled(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture under a black band with white text."""
    picture = cv2.copyMakeBorder(picture, BAND, 0, 0, 0, cv2.BORDER_CONSTANT)
    font = cv2.FONT_HERSHEY_SIMPLEX
    return cv2.putText(picture, text, (8, 22), font, 0.5, (255,) * 3, 1, cv2.LINE_AA)


def enlarged(screen: np.ndarray) -> np.ndarray:
    return cv2.resize(screen, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)


def write(name: str, pictures: Iterator[np.ndarray]) -> int:
    """Encode the frames; how many there were."""
    first = next(pictures)
    size = (first.shape[1], first.shape[0])
    with _silent():
        writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"VP80"), STEPS_PER_SECOND, size)
    writer.write(first)
    count = 1
    for picture in pictures:
        writer.write(picture)
        count += 1
    writer.release()
    return count


def frames(name: str) -> int:
    """Frames that can be read back."""
    reader, count = cv2.VideoCapture(name), 0
    while reader.grab():
        count += 1
    reader.release()
    return count


@contextmanager
def _silent() -> Iterator[None]:
    """Keep native code off stderr: OpenCV says that WebM does not take VP8, and then writes it."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
