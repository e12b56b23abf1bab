"""ALE's consoles. Loading a game takes a tenth of a second, most of it for a table of colours that
nobody here looks at; so a console that is no longer played is used again, set back to where it was
when its game was loaded."""

from __future__ import annotations

import atexit
import weakref
from collections import defaultdict
from pathlib import Path

from ale_py import ALEInterface, ALEState, LoggerMode

ALEInterface.setLoggerMode(LoggerMode.Error)


class Console:
    """ALE with a game, to be loaded before anything else.

    Args:
        rom: file of the game.

    Attributes:
        ale: what plays it, without actions that stick.
    """

    def __init__(self, rom: Path):
        self._rom = rom
        self.ale = ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.0)
        self.ale.setInt("random_seed", 0)  # by default the time, which its states would hold
        self._loaded: ALEState | None = None

    def load(self) -> None:
        """Be as if the game had just been loaded.

        ALE's own seed has no part in that: without actions that stick, what is random in a console
        is drawn from a seed that ALE fixes.
        """
        if self._loaded is None:
            self.ale.loadROM(self._rom)
            self._was_reset, self._loaded = False, self.ale.cloneState(include_rng=True)
        else:
            self.load_state(self._loaded)

    def reset(self) -> None:
        """Begin an episode."""
        self.ale.reset_game()
        self._was_reset = True

    def load_state(self, state: ALEState) -> None:
        if not self._was_reset:
            self.reset()  # ALE takes no state before
        self.ale.restoreState(state)


_idle: dict[Path, list[Console]] = defaultdict(list)


def console_for(player: object, rom: Path) -> Console:
    """A console with that game, which is `player`'s for as long as that lives."""
    console = _idle[rom].pop() if _idle[rom] else Console(rom)
    weakref.finalize(player, _give_back, rom, console)
    return console


def _give_back(rom: Path, console: Console) -> None:
    if not _ending:
        _idle[rom].append(console)


_ending = False


@atexit.register
def _end() -> None:
    """Let all consoles go: ale-py complains of those that are there when Python has ended."""
    global _ending
    _ending = True
    _idle.clear()
