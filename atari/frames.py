"""Recordings as tensors, and windows of screens that never cross an episode's bounds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from fovea.atari.emulator import SCREEN
from fovea.atari.games import find
from fovea.atari.parquet import RAM_BYTES, SCREEN_BYTES
from fovea.atari.recordings import many
from fovea.atari.shards import Shards
from fovea.command import UserError

LABELS = {  # columns of a recording, in the same row as the screen that the agent saw
    "action": torch.int64,
    "reward": torch.float32,
    "terminal": torch.bool,
    "truncated": torch.bool,
    "lives": torch.int64,
    "step": torch.int64,
    "ram": torch.uint8,
}


@dataclass(frozen=True)
class Frames:
    """Recorded screens in memory, with labels, in the order of play.

    Attributes:
        screens: (N, H, W) uint8.
        episode: (N,) int64, ascending: the number of each screen's episode, among all episodes of
            the recordings.
        game: (N,) int64, index into `games`.
        labels: a tensor (N,) for each of LABELS, but ram (N, 128); rewards are raw, and actions
            are numbered alike in all recordings of a game (see `Shards.actions`).
        games: rom ids.
        anchor: (N,) bool, the screens that windows may be placed at (see `split`).
        data: SHA-256 of each game's recording; those of several are joined with "+".
        absent: for each game the labels that some of its recordings lack, where they are zero.
    """

    screens: Tensor
    episode: Tensor
    game: Tensor
    labels: dict[str, Tensor]
    games: tuple[str, ...]
    anchor: Tensor
    data: dict[str, str]
    absent: dict[str, set[str]] = field(default_factory=dict)

    @staticmethod
    def load(
        folders: Sequence[str | Path], games: Iterable[str] | None = None, strict: bool = False
    ) -> Frames:
        """Read recordings, those of `games` or all.

        Raises UserError for a folder without recordings, a game that is not in them, a recording
        that is unfinished, damaged or given twice, and with `strict` where those of a game were
        played with different settings.
        """
        return Frames.read(Shards.find(folders, games, strict))

    @staticmethod
    def read(shards: Shards, rows: np.ndarray | None = None) -> Frames:
        """Read those `rows` (ascending) of the shards, or all. Raises UserError for damage."""
        rows = np.arange(len(shards)) if rows is None else rows
        screens = torch.empty(len(rows), *SCREEN, dtype=torch.uint8)
        episode = torch.empty(len(rows), dtype=torch.int64)
        game = torch.empty(len(rows), dtype=torch.int64)
        labels = {
            name: torch.empty((len(rows), RAM_BYTES) if name == "ram" else len(rows), dtype=dtype)
            for name, dtype in LABELS.items()
        }
        absent: dict[str, set[str]] = {name: set() for name in shards.games}
        for part in shards.read(rows):
            # mode="clip" lets NumPy write into place; by default it makes a copy first.
            into = screens.numpy()[part.into].reshape(-1, SCREEN_BYTES)
            np.take(part.shard.column("screen"), part.rows, 0, out=into, mode="clip")
            absent[shards.games[part.game]] |= {name for name in LABELS if part.shard.lacks(name)}
            for name, label in labels.items():
                column = part.shard.column(name)[part.rows]
                label.numpy()[part.into] = part.action[column] if name == "action" else column
            place = np.unique(part.shard.column("episode"), return_inverse=True)[1]
            episode.numpy()[part.into] = part.episode + place[part.rows]
            game[part.into] = int(part.game)
        anchor = torch.ones(len(rows), dtype=torch.bool)
        return Frames(screens, episode, game, labels, shards.games, anchor, shards.data, absent)

    @staticmethod
    def outline(shards: Shards, looked: Callable[[int], object]) -> Frames:
        """All frames with a hash (N, 1, 8) uint8 instead of each screen, and the label "row" alone.

        `split` and `starts` give what they give for the frames themselves, in a two-hundredth of
        the memory. One shard is held at a time; `looked` is called with the number of its screens.
        """
        seen = []
        absent: dict[str, set[str]] = {name: set() for name in shards.games}
        for begin, end in pairwise(shards.begins):
            frames = Frames.read(shards, np.arange(begin, end))
            hashes = _hashes(frames.screens).view(torch.uint8).view(-1, 1, 8)
            seen.append((hashes, frames.episode, frames.game, frames.anchor))
            for name, lacking in frames.absent.items():
                absent[name] |= lacking
            looked(len(frames))
        screens, episode, game, anchor = map(torch.cat, zip(*seen, strict=True))
        labels = {"row": torch.arange(len(screens))}
        return Frames(screens, episode, game, labels, shards.games, anchor, shards.data, absent)

    def __len__(self) -> int:
        return len(self.screens)

    def starts(self, stack: int, offsets: Sequence[int] = (0,)) -> Tensor:
        """(M,) int64: the anchors i whose windows all lie within i's episode.

        Offsets are agent steps from the anchor: the window of offset o is the screens
        i+o-stack+1 .. i+o, so the window of offset 0 ends with the anchor itself, that of -4 ends
        four steps before it and that of 4 four steps after it. The result is cached.
        """
        reach = stack, min(offsets), max(offsets)
        if reach not in self._kept:
            self._kept[reach] = self._starts(*reach)
        return self._kept[reach]

    @cached_property
    def _kept(self) -> dict[tuple[int, int, int], Tensor]:
        return {}

    def _starts(self, stack: int, back: int, ahead: int) -> Tensor:
        at = torch.arange(len(self), device=self.screens.device)
        begins = torch.ones_like(self.anchor)
        begins[1:] = self.episode[1:] != self.episode[:-1]
        first = at[begins]
        run = begins.cumsum(0) - 1
        last = torch.cat([first[1:], first.new_tensor([len(self)])]) - 1
        inside = (at + back - stack + 1 >= first[run]) & (at + ahead <= last[run])
        return at[inside & self.anchor]

    def last(self, at: Tensor) -> Tensor:
        """(B,) int64: for each screen of `at` (B,) the last screen of its episode."""
        return torch.searchsorted(self.episode, self.episode[at], right=True) - 1

    def windows(self, at: Tensor, stack: int, offsets: Sequence[int] = (0,)) -> Tensor:
        """(B, K, stack, H, W) uint8: window k ends with screen at + offsets[k], oldest first.

        `at` (B,) int64 are anchors from `starts` for the same stack and offsets.
        """
        device = self.screens.device
        back = torch.arange(1 - stack, 1, device=device)
        ahead = torch.tensor(offsets, device=device)
        which = at.to(device)[:, None, None] + ahead[:, None] + back
        # Copies whole screens, where indexing goes pixel by pixel.
        return self.screens.index_select(0, which.flatten()).unflatten(0, which.shape)

    def split(
        self, fractions: Sequence[float] = (0.7, 0.1, 0.2), seed: int = 0
    ) -> tuple[Frames, ...]:
        """Divide the episodes of each game into parts of these fractions.

        How a game is divided depends on its episodes and `seed`, not on other games. A screen that
        also occurs in an earlier part is no anchor in a later one, so that nothing measured on a
        later part was seen in an earlier.

        Raises UserError where a game has fewer episodes than there are splits.
        """
        check_fractions(fractions)
        part = torch.empty_like(self.episode)
        for index, name in enumerate(self.games):
            mine = self.game == index
            episodes = self.episode[mine].unique_consecutive()
            if len(episodes) < len(fractions):
                raise UserError(
                    f"{name} has {many(len(episodes), 'episode')}, too few for {len(fractions)} "
                    f"splits: record or import {len(fractions)} or more"
                )
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            of_episode = rng.permutation(_shares(len(episodes), fractions))
            place = torch.searchsorted(episodes, self.episode[mine])
            part[mine] = torch.as_tensor(of_episode, device=part.device)[place]
        hashes = _hashes(self.screens)
        return tuple(
            self._take(part == index, self.anchor & ~torch.isin(hashes, hashes[part < index]))
            for index in range(len(fractions))
        )

    def of(self, game: str) -> Frames:
        """The frames of one game, without a copy. Raises UserError if there are none."""
        rom_id = find(game).rom_id
        there = [self.games[index] for index in self.game.unique_consecutive().tolist()]
        if rom_id not in there:
            raise UserError(f"no frames of {rom_id}: these are of {', '.join(there)}")
        mine = (self.game == self.games.index(rom_id)).nonzero().flatten()
        rows = slice(int(mine[0]), int(mine[-1]) + 1)  # load puts a game's frames side by side
        return replace(
            self._take(rows, self.anchor),
            game=torch.zeros_like(self.game[rows]),
            games=(rom_id,),
            data={rom_id: self.data[rom_id]},
        )

    def to(self, device: torch.device | str) -> Frames:
        return replace(
            self,
            screens=self.screens.to(device),
            episode=self.episode.to(device),
            game=self.game.to(device),
            labels={name: label.to(device) for name, label in self.labels.items()},
            anchor=self.anchor.to(device),
        )

    def _take(self, rows: Tensor | slice, anchor: Tensor) -> Frames:
        return replace(
            self,
            screens=self.screens[rows],
            episode=self.episode[rows],
            game=self.game[rows],
            labels={name: label[rows] for name, label in self.labels.items()},
            anchor=anchor[rows],
        )


def check_fractions(fractions: Sequence[float]) -> None:
    """Raise UserError for fractions that do not divide anything into parts."""
    if not (all(0 < each < 1 for each in fractions) and abs(sum(fractions) - 1) < 1e-6):
        raise UserError(
            f"fractions {list(fractions)} do not divide episodes: give numbers above 0 whose sum "
            "is 1, such as [0.7, 0.1, 0.2]"
        )


def _shares(count: int, fractions: Sequence[float]) -> np.ndarray:
    """(count,) int64: the part that each of `count` episodes goes to; every part gets one."""
    spare = count - len(fractions)
    ends = np.rint(np.cumsum([0, *fractions]) * spare).astype(int)
    sizes = [end - begin + 1 for begin, end in pairwise(ends)]
    return np.repeat(np.arange(len(fractions)), sizes)


def _hashes(screens: Tensor) -> Tensor:
    """(N,) int64: a hash of each screen's bytes, made in blocks that fit a core's cache.

    Equal screens have equal hashes; among a million different screens, two hashes agree with a
    probability of about 1e-7.
    """
    flat = screens.flatten(1)
    if flat.shape[1] == 8:  # they are their own hash, so that an outline divides as its frames do
        return flat.contiguous().view(torch.int64)[:, 0]
    flat = flat if flat.shape[1] % 8 == 0 else pad(flat, (0, -flat.shape[1] % 8))
    generator = torch.Generator().manual_seed(0)
    words = flat.shape[1] // 8
    factors = torch.randint(2**62, (2, words), generator=generator).to(screens.device) * 2 + 1
    hashes = []
    for block in flat.split(256):
        mixed = block.contiguous().view(torch.int64) * factors[0]
        mixed ^= mixed >> 32
        mixed *= factors[1]
        mixed ^= mixed >> 29
        hashes.append(mixed.sum(1))
    return torch.cat(hashes)
