"""An episode while it is played, and the rows that a recording holds of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fovea.atari.emulator import Emulator

PLAYED = "screen", "ram", "lives", "action", "reward", "terminal", "truncated"


class Episode:
    """An episode in an emulator, from its start on.

    Args:
        emulator: that plays it; it is reset.
        noops: frames of doing nothing before it starts.

    Attributes:
        rows: the columns `PLAYED` of each step: what was seen, what was done, and what came of it.
        over: whether it has ended.
    """

    def __init__(self, emulator: Emulator, noops: int):
        self.emulator, self.rows, self.over = emulator, list[tuple](), False
        emulator.reset(noops)

    def step(self, action: int, recorded: int | None = None) -> None:
        """Act once.

        Args:
            action: index into the emulator's actions.
            recorded: index of the same action in the recording, where that counts in others.
        """
        seen = self.emulator.screen, self.emulator.ram, self.emulator.lives
        outcome = self.emulator.step(action)
        self.rows.append((*seen, action if recorded is None else recorded, *outcome))
        self.over = any(outcome[1:])


def columns(episodes: Sequence[Episode], first: int) -> dict[str, np.ndarray]:
    """The columns of all rows of episodes, one after the other, which are numbered from `first`."""
    lengths = [len(episode.rows) for episode in episodes]
    rows = zip(*(row for episode in episodes for row in episode.rows), strict=True)
    numbers = first + np.arange(len(episodes))
    played = {name: np.stack(each) for name, each in zip(PLAYED, rows, strict=True)}
    return played | {
        "episode": np.repeat(numbers, lengths),
        "step": np.concatenate([np.arange(length) for length in lengths]),
    }
