"""Experience of others: batches of transitions sampled from recordings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fovea.agents.experience.base import Actor, Experience, Task
from fovea.agents.experience.replay import Replay, Transitions
from fovea.agents.experience.returns import to_go
from fovea.atari.frames import Frames
from fovea.atari.origin import unlike
from fovea.atari.parquet import SCREEN_BYTES
from fovea.atari.shards import Shards
from fovea.command import UserError
from fovea.memory import free_memory
from fovea.progress import bar
from fovea.seeding import Stream, keyed

BATCH = 256  # stacks that are encoded at once


class RecordedSteps:
    """The recorded steps of a game, as an agent remembers them.

    Args:
        task: the game, and what counts as a reward and as the end of an episode.
        agent: who learns; a frozen encoder sees every screen once, when the first steps are asked
            for.
        folders: of recordings, of the game or the parents of those.
        gamma: discount of the returns to go.

    Raises UserError where there is no recording of the game, or one larger than memory or with
    other actions; where the task is strict, also where it was played otherwise than the task is.
    """

    def __init__(self, task: Task, agent: Actor, folders: Sequence[str], gamma: float):
        self.task, self.agent, self.gamma = task, agent, gamma
        named = ", ".join(folders)
        self.shards = Shards.find(folders, [task.game], task.strict)
        origins = (dataset.origin for _, dataset in self.shards.each)
        for line in dict.fromkeys(unlike(origins, task.settings)):
            if task.strict:
                raise UserError(
                    f"{named}: {line}: give recordings of the game as it is played here, or leave "
                    "out data.strict"
                )
            print(f"{named}: {line}", file=sys.stderr)
        check_memory(len(self.shards), task.game, named, free_memory())
        known, recorded = task.envs.action_meanings, self.shards.actions[task.game]
        if other := [name for name in recorded if name not in known]:
            raise UserError(
                f"{named} has actions that the game is not played with ({', '.join(other)}): "
                "set data.full_actions to true"
            )
        self.actions = torch.tensor([known.index(name) for name in recorded], dtype=torch.uint8)

    def sample(
        self, batch: int, n_step: int, gamma: float, generator: torch.Generator
    ) -> Transitions:
        """`batch` transitions with their returns to go, uniformly and with replacement.

        Args:
            batch: B.
            n_step: steps of reward before the value of the next observation.
            gamma: discount.
            generator: on the CPU.
        """
        replay, to_go = self.memory
        row, env = replay.draw(batch, n_step, generator)
        transitions = replay.transitions(row, env, n_step, gamma)
        following = replay.held["action"][row + n_step, env].long()
        return transitions._replace(to_go=to_go[row], next_action=following)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and environments, each (count,), of steps, uniformly and with replacement."""
        return self.memory[0].draw(count, 1, generator)

    def labelled(self, row: Tensor, env: Tensor) -> tuple[Tensor, Tensor]:
        """What was observed at these steps, (B, ...), and the rewards of them, (B,)."""
        replay, _ = self.memory
        return replay.observation(row, env), replay.held["reward"][row, env]

    @cached_property
    def memory(self) -> tuple[Replay, Tensor]:
        """The recordings as a replay of one environment, and the return-to-go of each step."""
        frames = Frames.read(self.shards)
        terminal, truncated = frames.labels["terminal"], frames.labels["truncated"]
        last, reward = terminal | truncated, frames.labels["reward"]
        if self.task.life_loss_terminal:
            lives = frames.labels["lives"]
            lost = (lives[1:] < lives[:-1]) & (lives[1:] > 0) & ~last[:-1]
            terminal = terminal.clone()
            terminal[:-1] |= lost
        if self.task.clip_rewards:
            reward = reward.clamp(-1, 1)
        held = {
            "obs": frames.screens,
            "action": self.actions[frames.labels["action"]],
            "reward": reward,
            "terminal": terminal,
            "truncated": truncated,
            "episode_start": last.roll(1),
        }
        replay = Replay(0, 1, frames.screens[0], self.task.stack)
        replay.fill({name: each[:, None] for name, each in held.items()})
        if self.agent.stores_features:
            features = self.encoded(replay)
            encoded = Replay(0, 1, features[0], stack=0)
            encoded.fill(replay.held | {"obs": features[:, None]})
            replay = encoded
        return replay, to_go(reward, terminal | last, self.gamma)

    def encoded(self, replay: Replay) -> Tensor:
        """(N, F) the features of every stack, by the agent's frozen encoder."""
        rows = torch.arange(replay.rows)
        shown = bar("encoding the recordings", "screens", len(rows), delay=2)
        features = []
        for batch in rows.split(BATCH):
            screens = replay.observation(batch, torch.zeros_like(batch))
            features.append(self.agent.observe(screens.to(self.agent.device)).cpu())
            shown.update(len(batch))
        shown.close()
        return torch.cat(features)


class Recorded(Experience):
    """Batches of recorded transitions; nothing is played.

    A run takes `task.total_steps` of them in all: what `played` counts are recorded steps.

    Args:
        task: the game (see `RecordedSteps`).
        agent: who learns.
        folders: of recordings.
        batch_size: transitions a batch.
        n_step: steps of reward before the value of the next observation.
        gamma: discount.
    """

    def __init__(
        self,
        task: Task,
        agent: Actor,
        folders: Sequence[str],
        batch_size: int,
        n_step: int,
        gamma: float,
    ):
        super().__init__(task, agent)
        self.batch_size, self.n_step, self.gamma = batch_size, n_step, gamma
        self.updates = task.total_steps // batch_size
        if not self.updates:
            raise UserError(
                f"data.total_steps {task.total_steps} is less than one batch of {batch_size}: "
                "make it more"
            )
        self.steps = RecordedSteps(task, agent, folders, gamma)
        self.data = self.steps.shards.data

    def batch(self, update: int) -> Transitions:
        self.agent.on_collect_start()
        generator = keyed("cpu", Stream.BATCHES, self.task.seed, update)
        transitions = self.steps.sample(self.batch_size, self.n_step, self.gamma, generator)
        self.played += self.batch_size
        self.watch(self.played)
        return transitions

    def random_observations(self, screens: int) -> Iterator[Tensor]:
        """The first recorded screens."""
        shards, stack = self.steps.shards, self.task.stack
        frames = Frames.read(shards, np.arange(min(screens, len(shards))))
        for starts in frames.starts(stack).split(BATCH):
            yield frames.windows(starts, stack)[:, 0].to(self.agent.device)


def check_memory(screens: int, game: str, folders: str, free: int) -> None:
    """Raise UserError where so many recorded screens take more than `free` bytes."""
    if (needed := screens * SCREEN_BYTES) > free:
        raise UserError(
            f"the {screens:,} recorded screens of {game} in {folders} take {needed / 1e9:.3f} GB "
            f"and {free / 1e9:.3f} GB are free: record fewer"
        )
