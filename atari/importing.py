"""What importers of other data share: what becomes a screen, and how they go on when stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from fovea.atari.emulator import SCREEN
from fovea.atari.origin import Origin
from fovea.atari.parquet import (
    SCREEN_BYTES,
    Damaged,
    check_rows,
    first_episode,
    read_columns,
    read_shard,
    shard_path,
    shard_paths,
    write_shard,
)
from fovea.atari.recordings import Dataset, seal
from fovea.command import UserError
from fovea.progress import bar

SHARD_STEPS = 5000
FRAME = (210, 160)
"""Height and width of what the console shows."""


def check_folder(folder: Path, origin: Origin) -> None:
    """Remove what a kill left. Raises UserError for shards of another origin."""
    for left in folder.glob(".*.tmp"):
        left.unlink()
    for path in shard_paths(folder):
        try:
            difference = origin.difference(read_columns(path, []).origin)
        except Damaged:
            continue
        if difference:
            name, wanted, found = difference
            raise UserError(
                f"{path} was imported with {name} {found}, not {wanted}: give another --out"
            )


def rows_of(path: Path) -> int | None:
    """How many rows a shard has; None where it is missing or damaged."""
    try:
        there = read_shard(path)
        check_rows(there)
    except Damaged:
        return None
    return there.table.num_rows


def shards_of(lengths: Sequence[int], shard_steps: int) -> Iterator[list[int]]:
    """The numbers of the episodes of each shard, which have so many steps together, at least."""
    some: list[int] = []
    steps = 0
    for number, length in enumerate(lengths):
        some.append(number)
        steps += length
        if steps >= shard_steps:
            yield some
            some, steps = [], 0
    if some:
        yield some


def import_episodes(
    folder: Path,
    origin: Origin,
    shards: Iterable[tuple[int, list[int]]],
    rows: Callable[[int, int], dict[str, np.ndarray]],
    episodes: int,
) -> Dataset:
    """Write the shards of a game that are missing, one in memory at a time, and list all.

    Args:
        folder: of the game.
        origin: of the recording.
        shards: the index of each and its episodes.
        rows: the columns of an episode, by its number in the data and in the recording.
        episodes: of all shards together.

    Raises UserError for shards of another origin.
    """
    check_folder(folder, origin)
    with bar("import", "episodes", episodes, delay=2) as shown:
        for index, numbers in shards:
            path = shard_path(folder, index)
            if rows_of(path) is None:
                first = first_episode(origin, index)
                write_shard(
                    path, _joined([rows(n, first + k) for k, n in enumerate(numbers)]), origin
                )
            shown.update(len(numbers))
    return seal(folder, map(read_shard, shard_paths(folder)))


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns one after the other; those that not all have are left out."""
    common = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in common}


def whole(rewards: np.ndarray, of: str) -> np.ndarray:
    """Rewards (T,) as int32. Raises UserError, with what they are of, for what is none."""
    with np.errstate(invalid="ignore"):  # of what is infinite
        if (
            rewards.dtype.kind not in "biuf"
            or (rewards % 1 != 0).any()
            or (np.abs(rewards.astype(np.float64)) >= 2**31).any()
        ):
            raise UserError(
                f"{of} has rewards that are no whole numbers, as no game's: take what has raw ones"
            )
    return rewards.astype(np.int32)


def screens(observations: np.ndarray, of: str) -> np.ndarray:
    """(T, 84 * 84) uint8 of observations (T, ...) uint8, by SCREENS.

    Raises UserError, with what they are of, for others.
    """
    shape = observations.shape[1:]
    if shape not in SCREENS or observations.dtype != np.uint8:
        raise UserError(
            f"{of} has screens of {observations.dtype} {shape}: known are uint8 "
            f"{', '.join(map(str, SCREENS))}"
        )
    return np.ascontiguousarray(SCREENS[shape](observations)).reshape(-1, SCREEN_BYTES)


def _resized(frames: np.ndarray) -> np.ndarray:
    """Frames (T, 210, 160) or (T, 210, 160, 3) as grey screens; ALE's grey is nearly that."""
    grey = (cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) if f.ndim == 3 else f for f in frames)
    return np.stack([cv2.resize(one, SCREEN, interpolation=cv2.INTER_AREA) for one in grey])


SCREENS: dict[tuple[int, ...], Callable[[np.ndarray], np.ndarray]] = {
    SCREEN: lambda seen: seen,
    (*SCREEN, 1): lambda seen: seen[..., 0],
    (1, *SCREEN): lambda seen: seen[:, 0],
    (4, *SCREEN): lambda seen: seen[:, -1],  # the newest of a stack
    FRAME: _resized,
    (*FRAME, 3): _resized,
}
"""What makes screens of observations, by their shape."""
