"""One game played step by step, whose state can be saved at any moment.

Its screens are byte for byte those of `ale_py.vector_env.AtariVectorEnv`, which shows no RAM and
cannot be saved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from ale_py import Action, ALEState, roms

from fovea.atari.consoles import console_for
from fovea.atari.games import find
from fovea.command import UserError

SCREEN = (84, 84)  # height, width of a screen after the area resize
BANDS = 42  # of a frame, each resized by itself

cv2.setNumThreads(1)  # collection is parallel over processes


def mt19937(seed: int) -> np.random.MT19937:
    """The generator that C++ calls std::mt19937 and ALE draws from."""
    generator = np.random.MT19937()
    state: Any = np.random.RandomState(seed).get_state(legacy=False)
    generator.state = state
    return generator


def mt19937_state(generator: np.random.MT19937) -> np.ndarray:
    """(625,) int64, what `load_mt19937` sets it back to."""
    state = generator.state["state"]
    return np.append(state["key"].astype(np.int64), state["pos"])


def load_mt19937(generator: np.random.MT19937, state: np.ndarray) -> None:
    """Set a generator to what `mt19937_state` returned."""
    held: Any = {"key": state[:-1].astype(np.uint32), "pos": int(state[-1])}
    generator.state = {"bit_generator": "MT19937", "state": held}


class EmulatorState(NamedTuple):
    """A moment of an `Emulator`, within an episode."""

    console: np.ndarray
    """(C,) uint8, ALE's own state."""
    random: np.ndarray
    """(625,) int64, of the generator that makes actions stick."""
    last: int
    """The action that would stick."""
    frame: int
    """Frames of the episode so far, without idle ones."""
    screen: np.ndarray
    """(84, 84) uint8, what is seen."""


@dataclass(frozen=True)
class Settings:
    """How a game is played; the defaults are those of `ALE/*-v5`.

    Attributes:
        sticky: probability that a frame repeats the last frame's action (Machado et al. 2018).
        frame_skip: frames an action is held for; a step shows the maximum of the last two of them.
        noop_max: an episode starts with 0 to noop_max - 1 frames of doing nothing, drawn uniformly.
        max_frames: an episode is cut after this many frames.
        fire_reset: whether the first of those frames, of which there is then one at least, presses
            FIRE, in games that have it.
        full_actions: whether to offer all 18 actions of the console instead of the minimal set.
        mode: variant of the game that its cartridge offers, by ALE's number; None for the default
            (Machado et al. 2018, arXiv 1709.06009).
        difficulty: position of the console's difficulty switch, by ALE's number; None for the
            default, which is 0 in most games.
    """

    sticky: float = 0.25
    frame_skip: int = 4
    noop_max: int = 30
    max_frames: int = 108_000
    fire_reset: bool = False
    full_actions: bool = False
    mode: int | None = None
    difficulty: int | None = None


def rom_path(game: str) -> Path:
    """The file of a game's ROM. Raises UserError where ale-py has none."""
    path = roms.get_rom_path(find(game).rom_id)
    if path is None:
        raise UserError(f"ale-py has no ROM of {game}: `fovea atari doctor` names the fix")
    return path


class Variants(NamedTuple):
    """Which variants a game has, by ALE's numbers."""

    mode: list[int]
    difficulty: list[int]


class Emulator:
    """One game; what happens in it depends on its arguments and the actions alone.

    Args:
        game: see `games.find`.
        settings: how it is played.
        seed: of its randomness.

    Raises UserError for a mode or difficulty that the game does not have.

    Attributes:
        actions: names of the action set; `step` takes an index into it.
        held: bytes of the memory, by their address, that are set to a value before every frame.
        screen: (84, 84) uint8 grey, what an agent sees now. It is stale after the last step of an
            episode, which nobody acts on.
    """

    def __init__(self, game: str, settings: Settings, seed: int):
        self.settings = settings
        self._rom = rom_path(game)
        # Actions stick here and not in ALE, whose saved states lack the action that sticks.
        self._console = console_for(self, self._rom)
        self._ale = self._console.ale
        self.seed(seed)
        minimal, full = self._ale.getMinimalActionSet, self._ale.getLegalActionSet
        self._actions = full() if settings.full_actions else minimal()
        self._frames = np.zeros((2, *self._ale.getScreenDims()), np.uint8)
        self._seen: np.ndarray | None = None
        self.held: dict[int, int] = {}
        self.screen = np.zeros(SCREEN, np.uint8)
        self._frame = 0
        self.actions = [action.name for action in self._actions]

    def seed(self, seed: int) -> None:
        """Be as if made with `seed`; `reset` comes next."""
        self._console.load()
        self._set_variant()
        self._random = mt19937(seed)
        self._last = Action.NOOP

    @property
    def ram(self) -> np.ndarray:
        """(128,) uint8, the console's memory at the moment of `screen`."""
        return self._ale.getRAM()

    @property
    def variants(self) -> Variants:
        """Those of the game."""
        return Variants(self._ale.getAvailableModes(), self._ale.getAvailableDifficulties())

    @property
    def frame(self) -> np.ndarray:
        """(210, 160) uint8 grey, what `screen` was resized from."""
        return self._frames[0]

    @property
    def lives(self) -> int:
        return self._ale.lives()

    def reset(self, noops: int) -> None:
        """Start an episode and do nothing for `noops` frames."""
        self._reset_game()
        fire = self.settings.fire_reset and Action.FIRE in self._actions
        if fire:
            self._act(Action.FIRE)
        for _ in range(noops - fire):
            self._act(Action.NOOP)
            if self._ale.game_over():
                self._reset_game()
        self._frame = 0
        self._ale.getScreenGrayscale(self._frames[0])
        self._see()

    def step(self, action: int) -> tuple[int, bool, bool]:
        """Hold an action for `frame_skip` frames: raw reward, terminal, truncated."""
        ale, held, skip = self._ale, self._actions[action], self.settings.frame_skip
        reward = 0
        for frame in range(skip):
            reward += self._act(held)
            self._frame += 1
            terminal = ale.game_over()
            if terminal or self._frame >= self.settings.max_frames:
                return reward, terminal, not terminal
            if frame >= skip - 2:
                ale.getScreenGrayscale(self._frames[skip - 1 - frame])
        np.maximum(self._frames[0], self._frames[1], out=self._frames[0])
        self._see()
        return reward, False, False

    def state(self) -> EmulatorState:
        """All that the future depends on."""
        console = np.frombuffer(self._ale.cloneState(include_rng=True).serialize(), np.uint8)
        random = mt19937_state(self._random)
        return EmulatorState(console, random, self._last.value, self._frame, self.screen)

    def load_state(self, state: EmulatorState) -> None:
        """Go on from what `state` returned, of this game under these settings."""
        self._console.load_state(ALEState(state.console.tobytes()))
        load_mt19937(self._random, state.random)
        self._last, self._frame, self.screen = Action(state.last), state.frame, state.screen
        self._seen = None  # the console's own screen is no part of its state

    def vary(self, settings: Settings) -> None:
        """Play by other settings: mode and difficulty from the next reset on.

        Those that they leave open are the first that the game offers.
        """
        first = {name: of[0] for name, of in self.variants._asdict().items()}
        asked = {name: getattr(settings, name) for name in first}
        self.settings = replace(
            settings, **first | {name: value for name, value in asked.items() if value is not None}
        )
        self._set_variant()

    def _set_variant(self) -> None:
        """Choose mode and difficulty, from the next reset on; a loaded ROM has the defaults."""
        ale, asked, there = self._ale, self.settings, self.variants
        for name, value, available, choose in (
            ("mode", asked.mode, there.mode, ale.setMode),
            ("difficulty", asked.difficulty, there.difficulty, ale.setDifficulty),
        ):
            if value is None:
                continue
            if value not in available:
                raise UserError(
                    f"{self._rom.stem} has no {name} {value}: "
                    f"choose among {', '.join(map(str, available))}"
                )
            choose(value)

    def _reset_game(self) -> None:
        self._console.reset()
        self._last = Action.NOOP

    def _act(self, action: Action) -> int:
        """One frame, in which the last action may stick; the draws are those ALE would make."""
        if self.settings.sticky:
            draw, _ = self._random.random_raw(2)  # the second is the other player's
            if draw < self.settings.sticky * 2**32:
                action = self._last
            self._last = action
        for byte, value in self.held.items():
            self._ale.setRAM(byte, value)
        return self._ale.act(action)

    def _see(self) -> None:
        """Resize the frame into `screen`, but only the bands that changed since the last time.

        210 rows become 84: each five rows of the frame make two rows of the screen, which depend
        on no other row. In most games this makes a step a tenth faster.
        """
        bands = self._frames[0].view(np.int64).reshape(BANDS, -1)
        seen, self._seen = self._seen, bands.copy()
        changed = np.arange(BANDS) if seen is None else (bands != seen).any(1).nonzero()[0]
        if len(changed):
            self.screen = self.screen.copy()
            self.screen.reshape(BANDS, -1)[changed] = cv2.resize(
                bands[changed].view(np.uint8).reshape(-1, self._frames.shape[2]),
                (SCREEN[1], len(changed) * SCREEN[0] // BANDS),
                interpolation=cv2.INTER_AREA,
            ).reshape(len(changed), -1)
