"""Frames that are all in memory, or one group of whole shards after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import torch

from fovea.atari.frames import Frames
from fovea.atari.parquet import SCREEN_BYTES
from fovea.atari.shards import Shards
from fovea.command import UserError
from fovea.progress import bar
from fovea.seeding import Stream


class InMemory:
    """Frames that are all in memory: one group, the same in every epoch.

    Attributes:
        frames: with one more label, "place": (N,) int64, counted from 0.
    """

    def __init__(self, frames: Frames):
        self.frames = replace(frames, labels={"place": torch.arange(len(frames))} | frames.labels)

    def to(self, device: torch.device | str) -> None:
        self.frames = self.frames.to(device)

    def groups(self, epoch: int) -> list[list[int]]:
        return [[0]]

    def count_windows(self, stack: int, offsets: Sequence[int]) -> np.ndarray:
        return np.array([len(self.frames.starts(stack, offsets))])

    def load(self, group: list[int]) -> Frames:
        return self.frames


class Rotation:
    """Frames of which one group of shards is in memory, replaced when another is asked for.

    Args:
        shards: where the frames are read from.
        outline: the frames that are used, of `Frames.outline`.
        limit: screens that may be in memory; no shard may have more that are used. While a group is
            read, the shard that it is read from is in memory as well.
        seed: of the division into groups.

    Attributes:
        frames: those in memory now, at first the first group of epoch 0. Their label "place" counts
            all frames that are used, in memory or not.
    """

    frames: Frames

    def __init__(self, shards: Shards, outline: Frames, limit: int, seed: int):
        self.shards, self.outline, self.limit, self.seed = shards, outline, limit, seed
        self.bounds = np.searchsorted(outline.labels["row"].numpy(), shards.begins)
        self.device = torch.device("cpu")
        self.group: list[int] = []
        self.load(self.groups(0)[0])

    def to(self, device: torch.device | str) -> None:
        """Keep the frames on `device`, those in memory now and all that follow."""
        self.device, self.frames = device, self.frames.to(device)

    def groups(self, epoch: int) -> list[list[int]]:
        """The groups of an epoch: indices of shards, ascending; each shard is in one group."""
        rng = np.random.default_rng([Stream.SHARD_ORDER, self.seed, epoch])
        return balanced_groups(np.diff(self.bounds), self.shards.game, self.limit, rng)

    def count_windows(self, stack: int, offsets: Sequence[int]) -> np.ndarray:
        """(S,) how many windows (see `Frames.starts`) each shard has."""
        starts = self.outline.starts(stack, offsets).numpy()
        return np.diff(np.searchsorted(starts, self.bounds))

    def load(self, group: list[int]) -> Frames:
        """The frames of these shards; those in memory before are freed first."""
        if group != self.group:
            self.group, self.frames = group, None
            at = torch.cat([torch.arange(*self.bounds[shard : shard + 2]) for shard in group])
            frames = Frames.read(self.shards, self.outline.labels["row"][at].numpy())
            labels = frames.labels | {"place": at}
            frames = replace(frames, labels=labels, anchor=self.outline.anchor[at])
            self.frames = frames.to(self.device)
        return self.frames


def split_in_memory(
    recordings: Sequence[str],
    fractions: Sequence[float],
    memory: float,
    seed: int,
    strict: bool = False,
) -> tuple[Rotation, InMemory]:
    """Training frames in groups that fit into `memory` GiB, beside validation frames that fit too.

    They are the frames of `Frames.split`. Where not all fit, validation gets its share of the
    memory, and is one group of whole shards.

    Raises UserError where the frames of the largest shard do not fit.
    """
    shards = Shards.find(recordings, strict=strict)
    with bar("looking through the recordings", "screens", len(shards), delay=5) as shown:
        outlines = Frames.outline(shards, shown.update).split(fractions, seed)[:2]
    limit = int(memory * 2**30) // SCREEN_BYTES
    train, validation = (largest_shard(shards, outline) for outline in outlines)
    if limit < train + validation:
        least = math.ceil((train + validation) * SCREEN_BYTES / 2**30 * 1000) / 1000
        raise UserError(
            f"memory of {memory} GiB holds {limit:,} screens, and the largest shard has "
            f"{train + validation:,}: give --data.memory {least} or more, or leave it out"
        )
    share = limit * len(outlines[1]) // sum(map(len, outlines))
    room = min(max(share, validation), limit - train)
    held_out = Rotation(shards, outlines[1], room, seed).frames
    return Rotation(shards, outlines[0], limit - len(held_out), seed), InMemory(held_out)


def largest_shard(shards: Shards, outline: Frames) -> int:
    """The most frames of the outline that one shard has."""
    return int(np.diff(np.searchsorted(outline.labels["row"].numpy(), shards.begins)).max())


def balanced_groups(
    sizes: np.ndarray, game: np.ndarray, limit: int, rng: np.random.Generator
) -> list[list[int]]:
    """Divide shards of these sizes (S,) and games (S,) into groups of at most `limit` frames.

    As few groups as possible, of about the same size, each with all games in proportion, as far as
    whole shards allow.
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
