"""Films of games: pictures with titles, written as WebM or MP4."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from fovea.command import UserError
from fovea.files import replacing

STEPS_PER_SECOND = 15  # 60 frames a second, four to a step: the speed that people play at
SIDE = 336  # px; four times the screen
BAND, GAP = 32, 8  # px; of the text above, and between two screens
CODECS = {".webm": "VP80", ".mp4": "mp4v"}
"""By the ending of a film's name. Browsers play WebM; MP4 (MPEG-4 part 2) is for other players."""


def check_name(path: Path) -> None:
    """Raises UserError where a film cannot have this name."""
    if path.suffix not in CODECS:
        raise UserError(f"a film cannot be called {path}: end its name in {' or '.join(CODECS)}")


def write_film(path: Path, pictures: Iterator[np.ndarray]) -> int:
    """Write a film, whole or not at all; returns how many pictures it has.

    Args:
        path: of the film; its ending, one of CODECS, decides on the container.
        pictures: (height, width, 3) uint8 in OpenCV's order of colours, of one size.
    """
    # OpenCV chooses the container by the name's ending.
    with replacing(path) as temporary, TemporaryDirectory(dir=path.parent) as draft:
        name = f"{draft}/film{path.suffix}"
        written = _write(name, pictures, CODECS[path.suffix])
        if _frames(name) < written:
            # OpenCV's writer does not report a full disk.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.replace(name, temporary)
    return written


def titled(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture under a black band with white text."""
    picture = cv2.copyMakeBorder(picture, BAND, 0, 0, 0, cv2.BORDER_CONSTANT)
    font = cv2.FONT_HERSHEY_SIMPLEX
    return cv2.putText(picture, text, (8, 22), font, 0.5, (255,) * 3, 1, cv2.LINE_AA)


def side_by_side(*pictures: np.ndarray) -> np.ndarray:
    """Pictures of one height, with black between them."""
    gap = np.zeros((len(pictures[0]), GAP, 3), np.uint8)
    return np.concatenate([part for each in pictures for part in (gap, each)][1:], axis=1)


def enlarged(screen: np.ndarray) -> np.ndarray:
    """A grey screen (H, W) uint8 as (SIDE, SIDE), pixels as squares."""
    return cv2.resize(screen, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)


def coloured(screen: np.ndarray) -> np.ndarray:
    """A grey screen (H, W) uint8 with three channels, as films have."""
    return cv2.cvtColor(screen, cv2.COLOR_GRAY2BGR)


def _write(name: str, pictures: Iterator[np.ndarray], codec: str) -> int:
    """Encode the frames; how many there were."""
    first = next(pictures)
    size = (first.shape[1], first.shape[0])
    with _silent():
        writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*codec), STEPS_PER_SECOND, size)
    writer.write(first)
    count = 1
    for picture in pictures:
        writer.write(picture)
        count += 1
    writer.release()
    return count


def _frames(name: str) -> int:
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
