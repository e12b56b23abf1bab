"""Environments for agents: ale-py's vector environment, with exact final screens and returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ale_py.vector_env import AtariVectorEnv

from fovea.atari.games import find

UNCUT = 2**30  # frames; `Envs` cuts episodes itself


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
            are stale, and are not to be learned from.
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
    """Copies of a game, stepped together by native threads.

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
        num_threads: native threads; 0 means one per core.
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
        num_threads: int = 0,
    ):
        self.num_envs = num_envs
        self._life_loss_terminal = life_loss_terminal
        self._max_steps = -(-max_frames // frame_skip)
        # Cuts and lost lives are handled here: the native cut leaves the last screens stale, and
        # the native life loss starts a new game.
        self._games = AtariVectorEnv(
            find(game).rom_id,
            num_envs,
            batch_size=num_envs,
            num_threads=num_threads,
            thread_affinity_offset=-1,
            max_num_frames_per_episode=UNCUT,
            repeat_action_probability=sticky,
            full_action_space=full_actions,
            continuous=False,
            autoreset_mode="SameStep",
            img_height=84,
            img_width=84,
            grayscale=True,
            stack_num=stack,
            frameskip=frame_skip,
            maxpool=True,
            noop_max=noop_max,
            episodic_life=False,
            life_loss_info=False,
            reward_clipping=False,
            use_fire_reset=fire_reset,
        )
        self.action_meanings = [action.name for action in self._games.ale.get_action_set()]
        self.action_count = len(self.action_meanings)
        self.restart(seed)

    def restart(self, seed: int) -> np.ndarray:
        """Start a new episode in every environment, as if made with `seed`.

        Returns the first screens (N, stack, 84, 84) uint8.
        """
        seeds = np.random.SeedSequence(seed).generate_state(self.num_envs) >> 1
        self._screens, infos = self._games.reset(seed=seeds.astype(np.int64))
        self._lives = infos["lives"]
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        return self._screens

    @property
    def screens(self) -> np.ndarray:
        """What to act on now: (N, stack, 84, 84) uint8."""
        return self._screens

    def step(self, actions: np.ndarray) -> Step:
        """Act once in every environment; `actions` (N,) are integers below `action_count`."""
        screens, reward, over, _, infos = self._games.step(np.asarray(actions, np.int64))
        self._returns += reward
        self._lengths += 1
        truncated = ~over & (self._lengths >= self._max_steps)
        ended = over | truncated
        final, lives = None, infos["lives"]
        terminal = over.copy()
        if self._life_loss_terminal:
            # Some games show zero lives for a while before they are over.
            terminal |= ~over & (lives < self._lives) & (lives > 0)
        if over.any():
            final = np.where(over[:, None, None, None], infos["final_obs"], screens)
        if truncated.any():
            final = screens if final is None else final
            screens, infos = self._games.reset(options={"reset_mask": truncated})
            lives = infos["lives"]
        self._screens, self._lives = screens, lives
        returns, lengths = self._returns[ended], self._lengths[ended]
        self._returns[ended] = 0
        self._lengths[ended] = 0
        return Step(
            screens=screens,
            reward=reward.astype(np.float32),
            terminal=terminal,
            truncated=truncated,
            final_screens=final,
            returns=returns,
            lengths=lengths,
            ended=ended,
        )
