"""Frames that are all held in memory, or take turns in it in groups of whole shards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import torch

from fovea.atari.frames import Frames
from fovea.atari.recordings import SCREEN_BYTES
from fovea.atari.shards import Shards
from fovea.command import UserError
from fovea.progress import bar
from fovea.seeding import Stream


class Whole:
    """Frames that are all held: one group, the same in every pass.

    Attributes:
        frames: with a label more, "place": (N,) int64, counted from 0.
    """

    def __init__(self, frames: Frames):
        self.frames = replace(frames, labels={"place": torch.arange(len(frames))} | frames.labels)

    def to(self, device: torch.device | str) -> None:
        self.frames = self.frames.to(device)

    def deal(self, number: int) -> list[list[int]]:
        return [[0]]

    def windows(self, stack: int, offsets: Sequence[int]) -> np.ndarray:
        return np.array([len(self.frames.starts(stack, offsets))])

    def hold(self, group: list[int]) -> Frames:
        return self.frames


class Rotation:
    """Frames of which one group of shards is held, another in its place when it is asked for.

    Args:
        shards: what the frames are read from.
        outline: the frames that take part, of `Frames.outline`.
        limit: screens that may be held at once; no shard may have more that take part. While a
            group is read, the shard that it is read from is in memory beside it.
        seed: of the deal.

    Attributes:
        frames: those held now, at first the first group of pass 0. Their label "place" counts
            through all frames that take part, held or not.
    """

    def __init__(self, shards: Shards, outline: Frames, limit: int, seed: int):
        self.shards, self.outline, self.limit, self.seed = shards, outline, limit, seed
        self.bounds = np.searchsorted(outline.labels["row"].numpy(), shards.begins)
        self.device = torch.device("cpu")
        self.group: list[int] = []
        self.hold(self.deal(0)[0])

    def to(self, device: torch.device | str) -> None:
        """Hold the frames on `device`, these and all that follow."""
        self.device, self.frames = device, self.frames.to(device)

    def deal(self, number: int) -> list[list[int]]:
        """The groups of pass `number`: shards, in the order of play, each once in a pass."""
        rng = np.random.default_rng([Stream.SHARD_ORDER, self.seed, number])
        return dealt(np.diff(self.bounds), self.shards.game, self.limit, rng)

    def windows(self, stack: int, offsets: Sequence[int]) -> np.ndarray:
        """(S,) how many windows (see `Frames.starts`) each shard has."""
        starts = self.outline.starts(stack, offsets).numpy()
        return np.diff(np.searchsorted(starts, self.bounds))

    def hold(self, group: list[int]) -> Frames:
        """The frames of these shards, once those that were held are let go of."""
        if group != self.group:
            self.group, self.frames = group, None
            at = torch.cat([torch.arange(*self.bounds[shard : shard + 2]) for shard in group])
            frames = Frames.read(self.shards, self.outline.labels["row"][at].numpy())
            labels = frames.labels | {"place": at}
            frames = replace(frames, labels=labels, anchor=self.outline.anchor[at])
            self.frames = frames.to(self.device)
        return self.frames


def rotate(
    recordings: Sequence[str], fractions: Sequence[float], memory: float, seed: int
) -> tuple[Rotation, Whole]:
    """Training frames that take turns in `memory` GiB, beside as many validation frames as fit.

    They are the frames that `Frames.split` gives. Where not all fit, validation gets its share of
    the memory, and is held to one group of whole shards.

    Raises UserError where less fits than the largest shard's frames.
    """
    shards = Shards.find(recordings)
    with bar("looking through the recordings", "screens", len(shards), delay=5) as shown:
        outlines = Frames.outline(shards, shown.update).split(fractions, seed)[:2]
    limit = int(memory * 2**30) // SCREEN_BYTES
    train, validation = (largest(shards, outline) for outline in outlines)
    if limit < train + validation:
        least = math.ceil((train + validation) * SCREEN_BYTES / 2**30 * 1000) / 1000
        raise UserError(
            f"memory of {memory} GiB holds {limit:,} screens, and the largest shard has "
            f"{train + validation:,}: give --data.memory {least} or more, or leave it out"
        )
    share = limit * len(outlines[1]) // sum(map(len, outlines))
    room = min(max(share, validation), limit - train)
    held_out = Rotation(shards, outlines[1], room, seed).frames
    return Rotation(shards, outlines[0], limit - len(held_out), seed), Whole(held_out)


def largest(shards: Shards, outline: Frames) -> int:
    """The most frames of the outline that one shard has."""
    return int(np.diff(np.searchsorted(outline.labels["row"].numpy(), shards.begins)).max())


def dealt(
    sizes: np.ndarray, game: np.ndarray, limit: int, rng: np.random.Generator
) -> list[list[int]]:
    """Deal shards of these sizes (S,) and games (S,) into groups of at most `limit` frames.

    As few groups as can be, of about the same size, each with all games in their shares as far as
    whole shards can.
    """
    order = rng.permutation(len(sizes))
    turn = np.empty(len(sizes))
    for one in np.unique(game):
        mine = game[order] == one
        turn[mine] = (np.arange(mine.sum()) + rng.random()) / mine.sum()
    order = order[np.argsort(turn, kind="stable")]
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    for groups in count(1):
        group = np.minimum(middle * groups // sizes.sum(), groups - 1).astype(int)
        if np.bincount(group, weights=sizes[order]).max() <= limit:
            return [np.sort(order[group == g]).tolist() for g in np.unique(group)]
