"""The shards of several recordings, ordered by game, from which any rows can be read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fovea.atari.games import find
from fovea.atari.origin import differences
from fovea.atari.parquet import Shard
from fovea.atari.recordings import Dataset, find_recordings, open_dataset, read_dataset
from fovea.command import UserError


class ShardRows(NamedTuple):
    """Some rows of one shard."""

    shard: Shard
    rows: np.ndarray
    """(n,) int64, rows of the shard."""
    into: slice
    """Their place among all rows that are read."""
    game: int
    action: np.ndarray
    """(A,) uint8, of each action of the shard its number among those of its game."""
    episode: int
    """The number of the shard's first episode, among the episodes of all shards."""


@dataclass(frozen=True)
class Shards:
    """All shards of some recordings, game after game, each in the order of play.

    Rows and episodes are numbered over all shards, whichever rows are read.

    Attributes:
        games: rom ids.
        actions: names of each game's actions: all 18, where one of its recordings has them, else
            its minimal set.
        data: SHA-256 of each game's recording; those of several are joined with "+".
        each: for every shard its folder, and a Dataset that lists it alone.
        game: (S,) int64, index of each shard's game.
        begins: (S + 1,) int64, the first row of each shard, then the number of all rows.
        episodes: (S + 1,) int64, the first episode of each shard, then the number of all.
    """

    games: tuple[str, ...]
    actions: dict[str, list[str]]
    data: dict[str, str]
    each: list[tuple[Path, Dataset]]
    game: np.ndarray
    begins: np.ndarray
    episodes: np.ndarray

    @staticmethod
    def find(
        folders: Sequence[str | Path], games: Iterable[str] | None = None, strict: bool = False
    ) -> Shards:
        """The shards of recordings, those of `games` or all.

        Where those of a game were played with different settings, a line on stderr says so.

        Raises UserError for a folder without recordings, a game that is not in them, a recording
        that is unfinished, or of which a shard is given twice, and with `strict` for settings that
        differ.
        """
        found = [(path, open_dataset(path)) for path in find_recordings(folders)]
        there = tuple(dict.fromkeys(dataset.origin.game for _, dataset in found))
        asked = there if games is None else (find(name).rom_id for name in games)
        wanted = tuple(dict.fromkeys(asked))
        for name in wanted:
            if name not in there:
                raise UserError(
                    f"no recording of {name} in {', '.join(map(str, folders))}, only of "
                    f"{', '.join(there)}: collect it, or leave it out"
                )
        groups = [[r for r in found if r[1].origin.game == name] for name in wanted]
        for group in groups:
            _check_each_once(group)
        for line in differences(dataset.origin for group in groups for _, dataset in group):
            if strict:
                raise UserError(f"{line}: give recordings of one kind, or leave out strict")
            print(line, file=sys.stderr)
        each = [
            (folder, Dataset(dataset.origin, [listed]))
            for folder, dataset in chain(*groups)
            for listed in dataset.shards
        ]
        return Shards(
            games=wanted,
            actions={
                name: max((dataset.origin.actions for _, dataset in group), key=len)
                for name, group in zip(wanted, groups, strict=True)
            },
            data={
                name: "+".join(dataset.sha256 for _, dataset in group)
                for name, group in zip(wanted, groups, strict=True)
            },
            each=each,
            game=np.array([wanted.index(dataset.origin.game) for _, dataset in each]),
            begins=np.array([*accumulate((d.rows for _, d in each), initial=0)]),
            episodes=np.array([*accumulate((d.episodes for _, d in each), initial=0)]),
        )

    def __len__(self) -> int:
        return int(self.begins[-1])

    def read(self, rows: np.ndarray) -> Iterator[ShardRows]:
        """Read `rows` (n,) (ascending), one shard after the other.

        Raises UserError that names a damaged shard.
        """
        bounds = np.searchsorted(rows, self.begins).tolist()
        for index, (folder, dataset) in enumerate(self.each):
            into = slice(bounds[index], bounds[index + 1])
            if into.start < into.stop:
                (shard,) = read_dataset(folder, dataset)
                here = rows[into] - self.begins[index]
                game = self.game[index]
                names = self.actions[self.games[game]]
                action = np.array([names.index(name) for name in shard.origin.actions], np.uint8)
                yield ShardRows(shard, here, into, game, action, self.episodes[index])


def _check_each_once(group: Sequence[tuple[Path, Dataset]]) -> None:
    """Raise UserError where a shard of a game is given twice: by another name, a link, a copy.

    A copy that has grown begins with the shards of what it was. Frames of these would count twice,
    and none that is in a test split would be new.
    """
    seen: dict[str, tuple[Path, Dataset]] = {}
    for folder, dataset in group:
        for listed in dataset.shards:
            if listed["sha256"] not in seen:
                continue
            before, other = seen[listed["sha256"]]
            if dataset.sha256 == other.sha256:
                raise UserError(
                    f"{before} and {folder} are the same recording of {dataset.origin.game}: "
                    "give it once"
                )
            raise UserError(
                f"{before} and {folder} hold the same shards of {dataset.origin.game}, such as "
                f"{listed['file']}: give one of them, such as the larger"
            )
        seen |= {listed["sha256"]: (folder, dataset) for listed in dataset.shards}
