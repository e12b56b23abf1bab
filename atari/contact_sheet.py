"""A picture of what recordings show: some screens of each policy of each game."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from fovea.atari.emulator import SCREEN
from fovea.atari.film import coloured, titled
from fovea.atari.recordings import Dataset, open_dataset, read_dataset
from fovea.command import UserError
from fovea.files import replacing

SCREENS = 8  # of each policy
SCALE, GAP = 2, 4  # px between screens


def contact_sheet(path: Path, folders: Sequence[Path]) -> None:
    """Write a PNG with a row of screens for each policy of each recording.

    Args:
        path: of the picture.
        folders: of single games, see `find_recordings`.

    Raises UserError for another ending of the name, and for damage in a shard that is looked at.
    """
    check_name(path)
    sheet = np.concatenate([row for folder in folders for row in _rows(folder)])
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


def check_name(path: Path) -> None:
    """Raises UserError where the picture cannot have this name."""
    if path.suffix != ".png":
        raise UserError(f"the picture cannot be called {path}: end its name in .png")


def _rows(folder: Path) -> list[np.ndarray]:
    """A strip for each policy, with screens from all of its recording, evenly spaced."""
    dataset = open_dataset(folder)
    game, names = dataset.origin.game, dataset.origin.policy_names
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    some = Dataset(dataset.origin, [dataset.shards[at] for at in _evenly(len(dataset.shards))])
    for shard in read_dataset(folder, some):
        screens = shard.column("screen").reshape(-1, *SCREEN)
        for index, name in enumerate(names):
            rows = np.flatnonzero(shard.policy == index)
            found[name] += [screens[rows[at]] for at in _evenly(len(rows))]
    return [_strip(f"{game}   {name}", screens) for name, screens in found.items() if screens]


def _evenly(count: int) -> list[int]:
    """Places among `count`, in the middle of SCREENS equal parts; all where there are fewer."""
    if count <= SCREENS:
        return list(range(count))
    return [(2 * part + 1) * count // (2 * SCREENS) for part in range(SCREENS)]


def _strip(text: str, screens: list[np.ndarray]) -> np.ndarray:
    """Screens side by side under a line of text, (height, width, 3) uint8."""
    chosen = [screens[at] for at in _evenly(len(screens))]
    blank = np.zeros(SCREEN, np.uint8)
    row = np.stack([*chosen, *[blank] * (SCREENS - len(chosen))])
    large = np.pad(row.repeat(SCALE, 1).repeat(SCALE, 2), [(0, 0), (0, GAP), (0, GAP)])
    return titled(coloured(np.concatenate([*large], axis=1)), text)
