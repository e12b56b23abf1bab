"""Experience that others had: batches of transitions drawn from recordings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fovea.agents.experience.base import Experience
from fovea.agents.experience.replay import Replay, Transitions
from fovea.agents.experience.returns import to_go
from fovea.atari.frames import Frames
from fovea.atari.recordings import SCREEN_BYTES
from fovea.atari.shards import Shards
from fovea.command import UserError
from fovea.memory import free_memory
from fovea.progress import bar
from fovea.seeding import Stream, keyed

if TYPE_CHECKING:
    from fovea.agents.algorithms.base import Agent
    from fovea.agents.task import Play

ENCODED = 256  # stacks at once


class Recorded(Experience):
    """Batches of recorded transitions; nothing is played.

    There are `play.steps` of them in all, so that the steps of `played` are recorded ones.

    Args:
        play: the game, and what counts as a reward and as an end.
        agent: who learns.
        folder: of `fovea atari collect`.
        batch: transitions a batch.
        n_step: steps of reward before the value of what follows.
        gamma: discount.

    Raises UserError where there is no recording of the game, or one larger than memory or with
    other actions.
    """

    def __init__(
        self, play: Play, agent: Agent, folder: Path, batch: int, n_step: int, gamma: float
    ):
        super().__init__(play, agent)
        self.batch_size, self.n_step, self.gamma = batch, n_step, gamma
        self.updates = play.steps // batch
        if not self.updates:
            raise UserError(
                f"data.steps {play.steps} is less than one batch of {batch}: make it more"
            )
        self.shards = Shards.find([folder], [play.game])
        needed, free = len(self.shards) * SCREEN_BYTES, free_memory()
        if needed > free:
            raise UserError(
                f"the {len(self.shards):,} recorded screens of {play.game} in {folder} take "
                f"{needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: record fewer"
            )
        known, recorded = self.envs.action_meanings, self.shards.each[0][1].origin.actions
        if other := [name for name in recorded if name not in known]:
            raise UserError(
                f"{folder} has actions that the game is not played with ({', '.join(other)}): "
                "set data.full_actions to true"
            )
        self.actions = torch.tensor([known.index(name) for name in recorded], dtype=torch.uint8)

    def batch(self, update: int) -> Transitions:
        self.agent.eyes.encoder.settle()
        replay, to_go = self.memory
        generator = keyed("cpu", Stream.BATCHES, self.play.seed, update)
        row, env = replay.draw(self.batch_size, self.n_step, generator)
        self.played += self.batch_size
        self.watch(self.played)
        transitions = replay.transitions(row, env, self.n_step, self.gamma)
        return transitions._replace(to_go=to_go[row])

    @cached_property
    def memory(self) -> tuple[Replay, Tensor]:
        """The recordings as a replay of one environment, and the return to go at each step."""
        frames = Frames.read(self.shards)
        last = torch.ones_like(frames.episode, dtype=torch.bool)
        last[:-1] = frames.episode[1:] != frames.episode[:-1]
        terminal, reward = frames.labels["terminal"], frames.labels["reward"]
        if self.play.rules.life_loss_terminal:
            lives = frames.labels["lives"]
            lost = (lives[1:] < lives[:-1]) & (lives[1:] > 0) & ~last[:-1]
            terminal = terminal.clone()
            terminal[:-1] |= lost
        if self.play.clip_rewards:
            reward = reward.clamp(-1, 1)
        held = {
            "observed": frames.screens,
            "action": self.actions[frames.labels["action"]],
            "reward": reward,
            "terminal": terminal,
            "cut": last & ~terminal,
            "first": last.roll(1),
        }
        replay = Replay(0, 1, frames.screens[0], self.play.stack)
        replay.fill({name: each[:, None] for name, each in held.items()})
        if self.agent.eyes.encoder.frozen:
            features = self.encoded(replay)
            seen = Replay(0, 1, features[0], stack=0)
            seen.fill(replay.held | {"observed": features[:, None]})
            replay = seen
        return replay, to_go(reward, terminal | last, self.gamma)

    def glance(self, screens: int) -> Iterator[Tensor]:
        """The first recorded screens."""
        frames = Frames.read(self.shards, np.arange(min(screens, len(self.shards))))
        for starts in frames.starts(self.play.stack).split(ENCODED):
            yield frames.windows(starts, self.play.stack)[:, 0].to(self.agent.device)

    def encoded(self, replay: Replay) -> Tensor:
        """(N, F) what the agent's frozen encoder says of every stack."""
        rows = torch.arange(replay.rows)
        shown = bar("encoding the recordings", "screens", len(rows), delay=2)
        features = []
        for some in rows.split(ENCODED):
            screens = replay.observation(some, torch.zeros_like(some))
            features.append(self.agent.eyes.observe(screens.to(self.agent.device)).cpu())
            shown.update(len(some))
        shown.close()
        return torch.cat(features)
