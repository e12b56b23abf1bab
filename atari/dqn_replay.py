"""DQN Replay (Agarwal et al. 2020, arXiv 1907.04543) as recordings.

Five DQN agents a game wrote what they saw in training; a checkpoint is the replay buffer of
Dopamine at a moment, one gzipped NumPy array for each of observations, actions, rewards and
terminals. What a reader has to know about these arrays (Dopamine's circular buffer):

* After each terminal, and at the very start, stand three rows of zeros. They are no steps.
* A buffer is circular. `add_count` says where the next row would have gone: the rows from there to
  the end are older than row 0. In most checkpoints that is the last row alone; in checkpoint 0 it
  was never written; in the last one, 50, it is most of the file, which checkpoint 49 has as well.
* Episodes are cut after 27,000 steps without a terminal and without padding.
* Lives and the console's memory were not recorded, and rewards are clipped to -1, 0 and 1.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fovea.atari.emulator import SCREEN
from fovea.atari.games import find
from fovea.atari.parquet import SCREEN_BYTES
from fovea.command import UserError

PADDING = 3
LONGEST = 27_000  # steps of an episode
ROWS = 1024  # that are unpacked at once
LAST = 50  # the checkpoint that was written when training ended, wherever the buffer stood
KINDS = "observation", "action", "reward", "terminal"
LAYOUTS = [
    re.compile(pattern + r"\.gz")
    for pattern in (
        # the public bucket's, and those of the scripts of SGI and of Atari-PB
        r".*?([^/]+)/(?P<run>\d+)/replay_logs/(?:\$store\$_)?(?P<kind>[a-z_]+)_ckpt\.(?P<ckpt>\d+)",
        r".*?([^/]+)/(?P<kind>[a-z]+)_(?P<run>\d+)_(?P<ckpt>\d+)",
        r".*?([^/]+)/(?P<kind>[a-z]+)_(?P<ckpt>\d+)",
    )
]


class Checkpoint(NamedTuple):
    """The files of a checkpoint."""

    game: str
    """Rom id."""
    run: int
    """1 to 5."""
    number: int
    """0 to 50."""
    files: dict[str, str]
    """Their paths, by what they hold: KINDS, and add_count where it is there."""

    @property
    def name(self) -> str:
        return f"{self.game} run {self.run} checkpoint {self.number}"


class Stretch(NamedTuple):
    """An episode, or as much of one as a file holds."""

    rows: np.ndarray
    """(T,) int64, its rows in the file, in the order of play."""
    over: bool
    """Whether it ended with a terminal; else it was cut short."""


def find_checkpoints(
    files: Any,
    root: str,
    games: Sequence[str] | None = None,
    runs: Iterable[int] | None = None,
    numbers: Iterable[int] | None = None,
) -> list[Checkpoint]:
    """The checkpoints under a path, ordered by game, run and number.

    Args:
        files: a file system of fsspec.
        root: the path.
        games: see `games.find`; by default all that have scores.
        runs: by default all.
        numbers: of checkpoints; by default all.

    Raises UserError where there is none that is asked for, or a file of one is missing.
    """
    asked = None if games is None else [find(name).rom_id for name in games]
    found: dict[tuple[str, int, int], dict[str, str]] = {}
    for path in files.find(root):
        match = next(filter(None, (layout.fullmatch(path) for layout in LAYOUTS)), None)
        if not match or match["kind"] not in (*KINDS, "add_count"):
            continue
        number, run = int(match["ckpt"]), match.groupdict().get("run")
        if run is None:  # SGI's scripts write checkpoint 1 of run 2 as 201
            run, number = number // 100 or 1, number % 100
        try:
            game = find(match[1]).rom_id
        except UserError:
            continue  # five of its games have no scores
        if (
            (asked is None or game in asked)
            and (runs is None or int(run) in runs)
            and (numbers is None or number in numbers)
        ):
            found.setdefault((game, int(run), number), {})[match["kind"]] = path
    if not found:
        raise UserError(
            f"no such checkpoints in {root}: give the folder with files such as "
            "Pong/1/replay_logs/$store$_observation_ckpt.1.gz, and check --games, --runs and "
            "--checkpoints"
        )
    checkpoints = [Checkpoint(*key, paths) for key, paths in sorted(found.items())]
    for checkpoint in checkpoints:
        for kind in KINDS:
            if kind not in checkpoint.files:
                raise UserError(f"{checkpoint.name} in {root} has no file of its {kind}s: add it")
        if checkpoint.number == LAST and "add_count" not in checkpoint.files:
            raise UserError(
                f"{checkpoint.name} has no file add_count, which says where its rows begin: "
                "add it, or leave the checkpoint out"
            )
    return checkpoints


def segments(
    capacity: int, number: int, add_count: int | None, before: bool, most: int | None
) -> list[tuple[list[range], bool]]:
    """The rows of a checkpoint that are new, each list in the order of play.

    Args:
        capacity: rows of its file.
        number: of the checkpoint.
        add_count: rows that were ever written; None where the file is not there.
        before: whether the checkpoint before it is imported too, which has its older rows.
        most: rows from the file's beginning that are read at most; None for all.

    Returns parts that are not joined, each with whether it begins with padding: others begin within
    an episode.
    """
    written = capacity * (number + 1) - 1 if add_count is None else add_count
    cursor, fresh = written % capacity, written < capacity
    if most is not None and most < capacity:
        parts = [([range(min(most, cursor))], fresh)]
        if not before and not fresh:
            parts.append(([range(cursor, most)], False))
        return [part for part in parts if len(part[0][0])]
    older = [] if fresh else [range(capacity - 1 if before else cursor, capacity)]
    return [([*older, range(cursor)], fresh)]


def stretches(
    terminal: np.ndarray, rows: list[range], begins: bool, longest: int = LONGEST
) -> list[Stretch]:
    """The episodes in a part of a checkpoint.

    The one that it begins in the middle of is left out.

    Args:
        terminal: (N,) of all rows of the file.
        rows: of the part, see `segments`.
        begins: whether the part begins with padding.
        longest: steps after which episodes were cut.
    """
    order = np.concatenate([np.arange(part.start, part.stop) for part in rows])
    found: list[Stretch] = []

    def add(begin: int, end: int, over: bool) -> None:
        for first in range(begin, end, longest):
            last = min(first + longest, end)
            found.append(Stretch(order[first:last], over and last == end))

    begin = PADDING if begins else None
    for end in np.flatnonzero(terminal[order]).tolist():
        if begin is not None:
            add(begin, end + 1, True)
        begin = end + 1 + PADDING
    if begin is not None:
        add(begin, len(order), False)
    return found


def read_screens(
    files: Any, path: str, capacity: int, stop: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The screens before row `stop`, ROWS at a time: the first row's number, (n, 84 * 84) uint8."""
    with _unpacked(files, path) as file:
        major, minor = np.lib.format.read_magic(file)
        header = getattr(np.lib.format, f"read_array_header_{major}_{minor}")
        if header(file) != ((capacity, *SCREEN), False, np.dtype(np.uint8)):
            raise UserError(
                f"{path} does not hold {capacity} screens of 84x84 bytes: download it again"
            )
        for begin in range(0, stop, ROWS):
            count = min(ROWS, stop - begin)
            content = file.read(count * SCREEN_BYTES)
            if len(content) < count * SCREEN_BYTES:
                raise EOFError("it ends too early")
            yield begin, np.frombuffer(content, np.uint8).reshape(-1, SCREEN_BYTES)


def read_array(files: Any, path: str) -> np.ndarray:
    """All of one of the small files."""
    with _unpacked(files, path) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


@contextmanager
def _unpacked(files: Any, path: str) -> Iterator[Any]:
    """What is in a gzip file, wherever it lies. Raises UserError where it is damaged."""
    try:
        with files.open(path, "rb") as packed, gzip.open(packed) as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as fault:
        if isinstance(fault, UserError):
            raise
        raise UserError(
            f"{path} is damaged ({fault}): fetch it again; what was imported before is kept, and "
            "the same command goes on"
        ) from None
