"""Environments for agents: several games at once, whose state can be saved at any moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from fovea.atari.emulator import (
    SCREEN,
    Emulator,
    EmulatorState,
    Settings,
    load_mt19937,
    mt19937,
    mt19937_state,
)
from fovea.atari.games import find
from fovea.seeding import Stream

CURRICULUM = "curriculum_"  # before the names of what a state of `Envs` holds of `Contexts`
UNCUT = 2**30  # frames; `Envs` cuts episodes itself

Sensor = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""What is seen, (N, stack, 84, 84) uint8, of the true screens alike.

It is also given the numbers of the episodes, (N,) int64, which are unique, and the agent steps
since each began, (N,) int64; it is a function of these alone and changes none of them.
"""


class Contexts(Protocol):
    """By which settings each episode is played; `fovea.agents.curriculum.Curriculum` is one."""

    settings: Sequence[dict[str, float]]
    """Of each context, the emulator's settings that are its own."""

    def begin(self) -> None:
        """Forget all that was scored."""

    def next(self, share: float, number: int) -> int:
        """The context of episode `number`; `share` is drawn uniformly."""

    def scored(self, context: int, total: float) -> None:
        """An episode in a context has ended with a raw return."""

    def chances(self) -> np.ndarray:
        """(N,) of the contexts now."""

    def state(self) -> dict[str, np.ndarray]: ...

    def load_state(self, state: dict[str, np.ndarray]) -> None: ...


@dataclass(frozen=True)
class Step:
    """What `Envs.step` returns. Where an episode ended, the next one has begun.

    Attributes:
        screens: (N, stack, 84, 84) uint8, what to act on next, oldest first.
        reward: (N,) float32, raw.
        terminal: (N,) bool, do not bootstrap: the game is over or, with `life_loss_terminal`, a
            life was lost (the game then goes on).
        truncated: (N,) bool, the episode was cut short: bootstrap from `final_screens`.
        final_screens: like `screens`, but the last ones of an episode that ended; None where none
            ended. They are exact where an episode was cut short; those of a game that is over
            are the ones before its last action, and are not to be learned from.
        returns: (E,) sum of raw rewards of each episode that ended, in the order of environments.
        lengths: (E,) int64, their agent steps.
        ended: (N,) bool, the environments in which they ended.
    """

    screens: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray
    truncated: np.ndarray
    final_screens: np.ndarray | None
    returns: np.ndarray
    lengths: np.ndarray
    ended: np.ndarray


class Envs:
    """Copies of a game, stepped together.

    Args:
        game: see `games.find`.
        num_envs: copies.
        seed: what happens depends on it and the actions alone.
        stack: screens that an agent sees at once; at the start of an episode the missing ones are
            black.
        sticky: probability that a frame repeats the last frame's action (Machado et al. 2018).
        noop_max: an episode starts with 0 to noop_max - 1 frames of doing nothing.
        life_loss_terminal: whether a lost life counts as terminal.
        fire_reset: whether episodes start with FIRE pressed once, in games that have it.
        max_frames: an episode is cut after this many frames.
        frame_skip: frames an action is held for; a screen is the maximum of the last two of them.
        full_actions: whether to offer all 18 actions of the console instead of the minimal set.
        mode: variant of the game, by ALE's number; None for the default.
        difficulty: of the game, by ALE's number; None for the default.
        sensor: what is seen of the true screens; None shows them as they are.
        contexts: says by which settings each episode is played; None plays all by these.
        permuted: whether the actions are permuted, otherwise in every episode.

    Attributes:
        screens: what to act on now: (N, stack, 84, 84) uint8. It is never written to again.
    """

    def __init__(
        self,
        game: str,
        num_envs: int,
        *,
        seed: int,
        stack: int = 4,
        sticky: float = 0.25,
        noop_max: int = 30,
        life_loss_terminal: bool = False,
        fire_reset: bool = False,
        max_frames: int = 108_000,
        frame_skip: int = 4,
        full_actions: bool = False,
        mode: int | None = None,
        difficulty: int | None = None,
        sensor: Sensor | None = None,
        contexts: Contexts | None = None,
        permuted: bool = False,
    ):
        self._permuted = permuted
        self._sensor, self.contexts, self._seed = sensor, contexts, seed
        self._context = np.zeros(num_envs, np.int64)
        self.num_envs, self._stack, self._noop_max = num_envs, stack, noop_max
        self._life_loss_terminal = life_loss_terminal
        self._max_steps = -(-max_frames // frame_skip)
        self._settings = settings = Settings(
            sticky,
            frame_skip,
            noop_max,
            UNCUT,
            fire_reset=fire_reset,
            full_actions=full_actions,
            mode=mode,
            difficulty=difficulty,
        )
        game = find(game).rom_id
        self._emulators = [Emulator(game, settings, each) for each in self._seeds(seed)]
        self.action_meanings = self._emulators[0].actions
        self.action_count = len(self.action_meanings)
        self._buttons = np.tile(np.arange(self.action_count), (num_envs, 1))
        self._begin(self._seeds(seed))

    def _seeds(self, seed: int) -> list[int]:
        drawn = np.random.SeedSequence(seed).generate_state(self.num_envs) >> 1
        return [int(each) for each in drawn]

    def restart(self, seed: int) -> np.ndarray:
        """Start a new episode in every environment, as if made with `seed`.

        Returns the first screens (N, stack, 84, 84) uint8.
        """
        seeds = self._seeds(seed)
        for emulator, each in zip(self._emulators, seeds, strict=True):
            emulator.seed(each)
        self._begin(seeds)
        return self.screens

    def _seen(self, screens: np.ndarray) -> np.ndarray:
        """What is seen of the true screens now."""
        if self._sensor is None:
            return screens
        return self._sensor(screens, self._episodes, self._lengths)

    def _begin(self, seeds: list[int]) -> None:
        """Start the first episode of emulators that have just been given these seeds."""
        self._noops = [mt19937(each) for each in seeds]
        self._screens = np.zeros((self.num_envs, self._stack, *SCREEN), np.uint8)
        self._episodes = np.arange(-self.num_envs, 0)
        self._lives = np.zeros(self.num_envs, np.int64)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        if self.contexts is not None:
            self.contexts.begin()
        for env in range(self.num_envs):
            self._start(env)
        self.screens = self._seen(self._screens)

    def _start(self, env: int) -> None:
        """Start an episode in an environment; its screens are written in place."""
        # A draw below noop_max as C++ makes it, so that seeds mean what they do to ale-py's own
        # vector environment.
        noops = int(self._noops[env].random_raw()) * max(self._noop_max, 1) >> 32
        emulator = self._emulators[env]
        self._episodes[env] += self.num_envs
        self._permute(env)
        if self.contexts is not None:
            number = int(self._episodes[env])
            share = np.random.default_rng([Stream.CURRICULUM, self._seed, number]).random()
            self._context[env] = self.contexts.next(share, number)
            self._vary(env, self.contexts)
        emulator.reset(noops)
        self._screens[env, :-1] = 0
        self._screens[env, -1] = emulator.screen
        self._lives[env] = emulator.lives
        self._returns[env] = self._lengths[env] = 0

    def _permute(self, env: int) -> None:
        """What each action does in the episode of an environment."""
        if self._permuted:
            number = int(self._episodes[env])
            rng = np.random.default_rng([Stream.PERMUTED_ACTIONS, self._seed, number])
            self._buttons[env] = rng.permutation(self.action_count)

    def _vary(self, env: int, contexts: Contexts) -> None:
        """Let an emulator play by the settings of its context."""
        own: dict[str, Any] = {**contexts.settings[self._context[env]]}
        self._emulators[env].vary(replace(self._settings, **own))

    def step(self, actions: np.ndarray) -> Step:
        """Act once in every environment; `actions` (N,) are integers below `action_count`."""
        before = self._screens
        self._screens = screens = np.empty_like(before)
        screens[:, :-1] = before[:, 1:]
        reward, over = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, bool)
        if self._permuted:
            actions = self._buttons[np.arange(self.num_envs), actions]
        for env, emulator in enumerate(self._emulators):
            reward[env], over[env], _ = emulator.step(int(actions[env]))
            screens[env, -1] = emulator.screen
        self._returns += reward
        self._lengths += 1
        truncated = ~over & (self._lengths >= self._max_steps)
        ended = over | truncated
        terminal = over.copy()
        if self._life_loss_terminal:
            lives = np.array([emulator.lives for emulator in self._emulators])
            # Some games show zero lives for a while before they are over.
            terminal |= ~over & (lives < self._lives) & (lives > 0)
            self._lives = lives
        returns, lengths = self._returns[ended], self._lengths[ended]
        final = self._seen(screens.copy()) if ended.any() else None
        for env in np.flatnonzero(ended).tolist():
            if self.contexts is not None:
                self.contexts.scored(int(self._context[env]), float(self._returns[env]))
            self._start(env)
        self.screens = self._seen(screens)
        return Step(
            screens=self.screens,
            reward=reward,
            terminal=terminal,
            truncated=truncated,
            final_screens=final,
            returns=returns,
            lengths=lengths,
            ended=ended,
        )

    def state(self) -> dict[str, np.ndarray]:
        """All that the future depends on, as arrays by name."""
        each = [emulator.state() for emulator in self._emulators]
        more = {}
        if self._sensor is not None or self.contexts is not None or self._permuted:
            more["episodes"] = self._episodes.copy()
        if self.contexts is not None:
            more["context"] = self._context.copy()
            more |= {f"{CURRICULUM}{name}": of for name, of in self.contexts.state().items()}
        return more | {
            "console": np.concatenate([state.console for state in each]),
            "console_size": np.array([len(state.console) for state in each]),
            "sticky": np.stack([state.random for state in each]),
            "last_action": np.array([state.last for state in each]),
            "frame": np.array([state.frame for state in each]),
            "noops": np.stack([mt19937_state(generator) for generator in self._noops]),
            "screens": self._screens,
            "lives": self._lives.copy(),
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
        }

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` returned, of as many copies of this game, played alike."""
        if self.contexts is not None:
            self._context = state["context"].copy()
            for env in range(self.num_envs):
                self._vary(env, self.contexts)
            self.contexts.load_state(curriculum_state(state))
        consoles = np.split(state["console"], np.cumsum(state["console_size"])[:-1])
        for env, emulator in enumerate(self._emulators):
            emulator.load_state(
                EmulatorState(
                    consoles[env],
                    state["sticky"][env],
                    int(state["last_action"][env]),
                    int(state["frame"][env]),
                    state["screens"][env, -1],
                )
            )
            load_mt19937(self._noops[env], state["noops"][env])
        self._screens = state["screens"].copy()
        self._lives, self._returns = state["lives"].copy(), state["returns"].copy()
        self._lengths = state["lengths"].copy()
        if "episodes" in state:
            self._episodes = state["episodes"].copy()
        for env in range(self.num_envs):
            self._permute(env)
        self.screens = self._seen(self._screens)


def curriculum_state(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a state of `Envs` holds of its contexts, as these gave it."""
    return {
        name.removeprefix(CURRICULUM): of
        for name, of in state.items()
        if name.startswith(CURRICULUM)
    }
