"""Moments of a game as they were, and as they would have been with one byte of memory another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fovea.atari.emulator import Emulator, EmulatorState, Settings
from fovea.atari.games import find
from fovea.seeding import Stream, key

APART = 24  # agent steps of random play between two moments
KEEP = 0.8  # chance that random play takes its last action again, so that it gets somewhere


class Moments(NamedTuple):
    """Moments of random play from which a game can go on in several ways.

    Attributes:
        emulator: the game.
        states: of it.
        seen: (steps, 128) uint8, the memory at every step of that play.
        screens: (N, stack, 84, 84) uint8, oldest first: what follows each, doing nothing.
        ram: (N, 128) uint8, the memory at the newest of these.
    """

    emulator: Emulator
    states: list[EmulatorState]
    seen: np.ndarray
    screens: np.ndarray
    ram: np.ndarray


class Edited(NamedTuple):
    """What would be seen with a byte of the memory held at another value, and what is seen."""

    screens: np.ndarray
    """(N, stack, 84, 84) uint8: the moments with the byte held at `value` in every frame."""
    value: np.ndarray
    """(N,) int64, of the byte."""
    ram: np.ndarray
    """(N, 128) uint8, the memory at the newest screen: the game may have moved the byte on."""
    shown: np.ndarray
    """(N,) bool, whether the newest screen differs at all from the one without."""


def moments(game: str, count: int, stack: int, seed: int = 0) -> Moments:
    """`count` moments of random play, APART steps from each other. Actions do not stick.

    Args:
        game: see `games.find`.
        count: how many.
        stack: screens of each.
        seed: of the play.
    """
    rom = find(game).rom_id
    emulator = Emulator(rom, Settings(sticky=0.0), key(Stream.INTERVENTIONS, seed) % 2**31)
    rng = np.random.default_rng(key(Stream.INTERVENTIONS, seed, 1))
    emulator.reset(int(rng.integers(30)))
    states: list[EmulatorState] = []
    seen: list[np.ndarray] = []
    action = 0
    while len(states) < count:
        if rng.random() >= KEEP:
            action = int(rng.integers(len(emulator.actions)))
        _, over, _ = emulator.step(action)
        seen.append(emulator.ram)
        if over:
            emulator.reset(int(rng.integers(30)))
        elif len(seen) % APART == 0:
            states.append(emulator.state())
    screens, ram = zip(*(_go_on(emulator, state, stack, {}) for state in states), strict=True)
    return Moments(emulator, states, np.stack(seen), np.stack(screens), np.stack(ram))


def edited(play: Moments, byte: int, seed: int = 0) -> Edited:
    """Each of the moments with a byte held at a value that it has had at another time of the play.

    The console itself renders what follows: where the game writes the byte anew before it draws, as
    Pong does with the paddles, nothing changes on the screen.

    Args:
        play: the moments.
        byte: address, 0 to 127.
        seed: of the values.
    """
    rng = np.random.default_rng(key(Stream.INTERVENTIONS, seed, 2, byte))
    screens, values, rams = [], [], []
    for state, ram in zip(play.states, play.ram, strict=True):
        others = play.seen[:, byte][play.seen[:, byte] != ram[byte]]
        values.append(int(rng.choice(others)) if len(others) else int(ram[byte]))
        held = {byte: values[-1]}
        seen, then = _go_on(play.emulator, state, play.screens.shape[1], held)
        screens.append(seen)
        rams.append(then)
    after = np.stack(screens)
    shown = (after[:, -1] != play.screens[:, -1]).any((1, 2))
    return Edited(after, np.array(values), np.stack(rams), shown)


def _go_on(
    emulator: Emulator, state: EmulatorState, stack: int, held: dict[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The next screens (stack, 84, 84), doing nothing, and the memory at the last of them."""
    emulator.load_state(state)
    emulator.held = held
    screens = []
    for _ in range(stack):
        emulator.step(0)
        screens.append(emulator.screen)
    emulator.held = {}
    return np.stack(screens), emulator.ram
