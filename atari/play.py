"""An episode of a recording as a film, with the console's memory beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fovea.atari.emulator import SCREEN
from fovea.atari.film import SIDE, coloured, enlarged, side_by_side, titled
from fovea.atari.parquet import RAM_BYTES
from fovea.atari.ram import variables
from fovea.atari.recordings import read_dataset
from fovea.atari.shards import Shards
from fovea.command import UserError

LINES = 19  # of memory in a column
LINE, WIDTH = 17, 190  # px; height and width of a line
STEADY, CHANGED = (140,) * 3, (255,) * 3  # a value as it was at the step before, and a new one


@dataclass(frozen=True)
class Recorded:
    """An episode of a recording.

    Attributes:
        game: rom id.
        number: as the column `episode` has it.
        policy: the name of who played.
        actions: names of the actions that `rows` counts in.
        rows: the columns of a recording by name, (T,) or (T, bytes).
        has_ram: whether the console's memory was recorded.
    """

    game: str
    number: int
    policy: str
    actions: Sequence[str]
    rows: dict[str, np.ndarray]
    has_ram: bool

    def __len__(self) -> int:
        return len(self.rows["step"])


def find_episode(folders: Sequence[Path], game: str | None, place: int) -> Recorded:
    """The episode at `place`, from 0, among those of a game, in the order of play.

    Args:
        folders: of recordings.
        game: see `games.find`; None where the folders hold one game alone.
        place: of the episode.

    Raises UserError where there is no such game or episode, or a shard is damaged.
    """
    shards = Shards.find(folders, None if game is None else [game])
    if len(shards.games) > 1:
        raise UserError(f"several games are here: choose a --game among {', '.join(shards.games)}")
    count = int(shards.episodes[-1])
    if place >= count:
        raise UserError(
            f"{shards.games[0]} has {count} episodes, and no episode {place}: "
            f"choose --episode 0 to {count - 1}"
        )
    index = int(np.searchsorted(shards.episodes, place, side="right")) - 1
    (shard,) = read_dataset(*shards.each[index])
    numbers = shard.column("episode")
    number = np.unique(numbers)[place - int(shards.episodes[index])]
    rows = np.flatnonzero(numbers == number)
    names = ("screen", "action", "reward", "terminal", "truncated", "lives", "step", "ram")
    return Recorded(
        game=shard.origin.game,
        number=int(number),
        policy=shard.origin.policy_names[shard.policy[rows[0]]],
        actions=shard.origin.actions,
        rows={name: shard.column(name)[rows] for name in names},
        has_ram=not shard.table.column("ram").null_count,
    )


def pictures(episode: Recorded) -> Iterator[np.ndarray]:
    """The frames of its film, (height, width, 3) uint8 in OpenCV's order of colours.

    Beside the screen stand the variables of the game's RAM table by name, or all bytes where it has
    none; what has changed since the step before is bright.
    """
    rows = episode.rows
    score = np.cumsum(rows["reward"].astype(np.int64))
    named = {v.name: v.byte for v in variables(episode.game)}
    shown = named or {f"{byte:02x}": byte for byte in range(RAM_BYTES)}
    before = rows["ram"][0]
    for step, memory in enumerate(rows["ram"]):
        earned = score[step - 1] if step else 0  # the reward of an action is seen afterwards
        action = episode.actions[rows["action"][step]]
        screen = titled(
            coloured(enlarged(rows["screen"][step].reshape(SCREEN))),
            f"step {step}   score {earned}   {action}",
        )
        if not episode.has_ram:
            yield screen
            continue
        width = WIDTH if named else WIDTH // 3
        panel = titled(_memory(shown, memory, before, width), f"memory of {episode.game}")
        yield side_by_side(screen, panel)
        before = memory


def _memory(
    shown: dict[str, int], memory: np.ndarray, before: np.ndarray, width: int
) -> np.ndarray:
    """Bytes of the memory with their names, in columns."""
    columns = -(-len(shown) // LINES)
    panel = np.zeros((SIDE, max(columns * width, WIDTH), 3), np.uint8)
    for place, (name, byte) in enumerate(shown.items()):
        left, top = place // LINES * width + 6, place % LINES * LINE + 14
        colour = CHANGED if memory[byte] != before[byte] else STEADY
        for text, right in ((name, 0), (f"{memory[byte]:>3}", width - 34)):
            cv2.putText(
                panel, text, (left + right, top), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1,
                cv2.LINE_AA,
            )  # fmt: skip
    return panel
