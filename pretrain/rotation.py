"""Frames that take turns in memory, in groups of whole shards; one group where all fit."""

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


class Rotation:
    """Frames of which one group of shards is in memory, replaced when another is asked for.

    None are in memory until a group is asked for.

    Args:
        shards: where the frames are read from.
        outline: the frames that are used, of `Frames.outline`.
        limit: screens that may be in memory; no shard may have more that are used. While a group is
            read, the shard that it is read from is in memory as well. None: all may.
        seed: of the division into groups.
        mine: indices of the shards that are used, ascending; None: all.
    """

    def __init__(
        self,
        shards: Shards,
        outline: Frames,
        limit: int | None,
        seed: int,
        mine: list[int] | None = None,
    ):
        self.shards, self.outline, self.seed = shards, outline, seed
        self.limit = len(outline) if limit is None else limit
        self.bounds = bounds_of(shards, outline)
        self.mine = np.arange(len(self.bounds) - 1) if mine is None else np.array(mine)
        self.device = torch.device("cpu")
        self.release()

    @property
    def frames(self) -> Frames:
        """Those in memory; where there are none, the first group of epoch 0 is loaded.

        Their label "place" counts all frames that are used, in memory or not.
        """
        return self.loaded or self.load(self.groups(0)[0])

    def release(self) -> None:
        """Free what is in memory."""
        self.group: list[int] = []
        self.loaded: Frames | None = None

    def to(self, device: torch.device | str) -> None:
        """Keep the frames on `device`, those in memory now and all that follow."""
        self.device = torch.device(device)
        if self.loaded:
            self.loaded = self.loaded.to(device)

    def groups(self, epoch: int) -> list[list[int]]:
        """The groups of an epoch: indices of shards, ascending; each shard is in one group."""
        rng = np.random.default_rng([Stream.SHARD_ORDER, self.seed, epoch])
        sizes, game = np.diff(self.bounds)[self.mine], self.shards.game[self.mine]
        groups = balanced_groups(sizes, game, self.limit, rng)
        return [self.mine[group].tolist() for group in groups]

    def count_windows(self, stack: int, offsets: Sequence[int]) -> np.ndarray:
        """(S,) how many windows (see `Frames.starts`) each shard has; none of those not used."""
        starts = self.outline.starts(stack, offsets).numpy()
        counts = np.diff(np.searchsorted(starts, self.bounds))
        return np.where(np.isin(np.arange(len(counts)), self.mine), counts, 0)

    def load(self, group: list[int]) -> Frames:
        """The frames of these shards; those in memory before are freed first."""
        if group != self.group or not self.loaded:
            self.release()
            at = torch.cat([torch.arange(*self.bounds[shard : shard + 2]) for shard in group])
            frames = Frames.read(self.shards, self.outline.labels["row"][at].numpy())
            labels = frames.labels | {"place": at}
            frames = replace(frames, labels=labels, anchor=self.outline.anchor[at])
            self.group, self.loaded = group, frames.to(self.device)
        return self.loaded


def split_in_memory(
    recordings: Sequence[str],
    fractions: Sequence[float],
    memory: float | None,
    seed: int,
    strict: bool = False,
    shares: int = 1,
) -> tuple[list[Rotation], list[Rotation]]:
    """Training and validation frames of each of so many shares, which all fit into `memory` GiB.

    They are the frames of `Frames.split`, and whole shards are dealt to the shares. Training frames
    come in groups that fit; where not all frames fit, validation gets its part of the memory, and
    is one group.

    Raises UserError where the frames of the largest shard do not fit, and where a share gets none.
    """
    shards = Shards.find(recordings, strict=strict)
    with bar("looking through the recordings", "screens", len(shards), delay=5) as shown:
        training, validation = Frames.outline(shards, shown.update).split(fractions, seed)[:2]
    limit = None if memory is None else int(memory * 2**30) // SCREEN_BYTES // shares
    if memory is not None:
        check_limit(shards, training, validation, memory, shares)
    named = {"training": training, "validation": validation}
    each = zip(*(dealt(shards, of, shares, seed, name) for name, of in named.items()), strict=True)
    found = [_share(shards, (training, validation), mine, limit, seed) for mine in each]
    return [one for one, _ in found], [one for _, one in found]


def _share(
    shards: Shards,
    outlines: tuple[Frames, Frames],
    mine: tuple[list[int], list[int]],
    limit: int | None,
    seed: int,
) -> tuple[Rotation, Rotation]:
    """Of the shards `mine` for training and validation, at most `limit` frames at once together."""
    training, validation = outlines
    if limit is None:
        return (Rotation(shards, training, None, seed, mine[0]),
                Rotation(shards, validation, None, seed, mine[1]))  # fmt: skip
    of_training, of_validation = (np.diff(bounds_of(shards, outline)) for outline in outlines)
    trained, held = of_training[mine[0]], of_validation[mine[1]]
    part = limit * int(held.sum()) // int(trained.sum() + held.sum())
    room = min(max(part, int(held.max())), limit - int(trained.max()))
    held_out = Rotation(shards, validation, room, seed, mine[1]).groups(0)[0]
    left = limit - int(of_validation[held_out].sum())
    return (Rotation(shards, training, left, seed, mine[0]),
            Rotation(shards, validation, room, seed, held_out))  # fmt: skip


def check_limit(
    shards: Shards, training: Frames, validation: Frames, memory: float, shares: int
) -> None:
    """Raise UserError where a share's part of the memory is less than the largest shard needs."""
    limit = int(memory * 2**30) // SCREEN_BYTES
    least = largest_shard(shards, training) + largest_shard(shards, validation)
    if limit // shares < least:
        enough = math.ceil(least * shares * SCREEN_BYTES / 2**30 * 1000) / 1000
        each = f", {limit // shares:,} a share" if shares > 1 else ""
        raise UserError(
            f"memory of {memory} GiB holds {limit:,} screens{each}, and the largest shard has "
            f"{least:,}: give --data.memory {enough} or more, or leave it out"
        )


def dealt(shards: Shards, outline: Frames, shares: int, seed: int, name: str) -> list[list[int]]:
    """The shards of each share, ascending: about as many frames each, of every game.

    One share has all shards. Raises UserError where a share would get no frames.
    """
    if shares == 1:
        return [list(range(len(shards.game)))]
    sizes = np.diff(bounds_of(shards, outline))
    some = np.flatnonzero(sizes)
    rng = np.random.default_rng([Stream.SHARES, seed])
    found = divided(sizes[some], shards.game[some], shares, rng)
    if len(found) < shares:
        raise UserError(
            f"the frames for {name} lie in {len(some)} shards, too few for {shares} shares: "
            "take fewer --data.shares, or record with fewer --shard-steps"
        )
    return [some[mine].tolist() for mine in found]


def bounds_of(shards: Shards, outline: Frames) -> np.ndarray:
    """(S + 1,) where the frames of each shard begin in an outline, and end."""
    return np.searchsorted(outline.labels["row"].numpy(), shards.begins)


def largest_shard(shards: Shards, outline: Frames) -> int:
    """The most frames of the outline that one shard has."""
    return int(np.diff(bounds_of(shards, outline)).max())


def balanced_groups(
    sizes: np.ndarray, game: np.ndarray, limit: int, rng: np.random.Generator
) -> list[list[int]]:
    """Divide shards of these sizes (S,) and games (S,) into groups of at most `limit` frames.

    As few groups as possible, see `divided`.
    """
    order = _order(game, rng)
    every = (_cut(sizes, order, number) for number in count(1))
    return next(g for g in every if max(sizes[group].sum() for group in g) <= limit)


def divided(
    sizes: np.ndarray, game: np.ndarray, number: int, rng: np.random.Generator
) -> list[list[int]]:
    """So many groups of shards, or fewer: of about the same size, with all games in proportion.

    As far as whole shards allow.
    """
    return _cut(sizes, _order(game, rng), number)


def _order(game: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shards shuffled, and those of each game spread evenly."""
    order = rng.permutation(len(game))
    turn = np.empty(len(game))
    for one in np.unique(game):
        mine = game[order] == one
        turn[mine] = (np.arange(mine.sum()) + rng.random()) / mine.sum()
    return order[np.argsort(turn, kind="stable")]


def _cut(sizes: np.ndarray, order: np.ndarray, number: int) -> list[list[int]]:
    """Cut the shards in this order into groups of about the same size; none is empty."""
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    group = np.minimum(middle * number // sizes.sum(), number - 1).astype(int)
    return [np.sort(order[group == g]).tolist() for g in np.unique(group)]
