"""Experience that is stored as it is played, and learnt from in any order."""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.agents.experience.base import Actor, Experience, Task
from fovea.agents.experience.replay import Replay
from fovea.atari.env import Step
from fovea.command import UserError


class Replayed(Experience):
    """Plays until an update is due, and stores every step in a replay.

    A subclass says how it acts and stores (`advance`), and makes batches of what is stored.

    Args:
        task: the game.
        agent: who plays and learns.
        buffer_size: agent steps that the replay holds.
        n_step: steps that what is learnt of one of them reaches ahead.
        learning_starts: agent steps before the first update.
        train_freq: agent steps between two updates; below 1, several updates a step.
        on_disk: hold what was observed in a file in the run folder.

    Raises UserError where there would be nothing to learn from, or no update.
    """

    heavy: tuple[str, ...] = ("replay",)

    def __init__(
        self,
        task: Task,
        agent: Actor,
        buffer_size: int,
        n_step: int,
        learning_starts: int,
        train_freq: float,
        on_disk: bool = False,
    ):
        super().__init__(task, agent)
        self.learning_starts, self.train_freq = learning_starts, train_freq
        envs = self.envs.num_envs
        least = envs * (n_step + task.stack + 1)
        if min(learning_starts, buffer_size) < least:
            raise UserError(
                f"learning_starts {learning_starts} and a buffer_size of {buffer_size} hold too "
                f"few steps of {envs} environments to learn from: make both at least {least}"
            )
        if task.total_steps < learning_starts + train_freq:
            raise UserError(
                f"data.total_steps {task.total_steps} is less than the {learning_starts} of "
                "learning_starts and an update: play longer, or make "
                "model.init_args.learning_starts smaller"
            )
        self.updates = int((task.total_steps - learning_starts) / train_freq)
        seen = self.observe(self.envs.screens[:1])[0]
        row, stack = (seen, 0) if agent.stores_features else (seen[-1], task.stack)
        self.replay = Replay(buffer_size, envs, row, stack, task.folder if on_disk else None)
        self.episode_start = torch.ones(envs, dtype=torch.bool)

    def play_until_due(self, update: int) -> None:
        """Play what update number `update` needs, counted from 0."""
        self.agent.on_collect_start()
        due = self.learning_starts + (update + 1) * self.train_freq
        while self.played < due:
            self.advance()

    def advance(self) -> None:
        """Act once in every environment and store it."""
        raise NotImplementedError

    def store(self, obs: Tensor, action: Tensor, step: Step, **more: Tensor) -> None:
        """Store what `step` made of `action` on `obs`, with more floats (N, ...) of each."""
        self.replay.append(
            obs=obs[:, -1] if self.replay.stack else obs,
            action=action,
            reward=self.rewards(step),
            terminal=torch.from_numpy(step.terminal),
            truncated=torch.from_numpy(step.truncated),
            episode_start=self.episode_start,
            **more,
        )
        self.episode_start = torch.from_numpy(step.ended)

    def state_dict(self) -> dict:
        return super().state_dict() | {
            "replay": self.replay.state_dict(),
            "episode_start": self.episode_start,
        }

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.episode_start = state["episode_start"]
        if "replay" in state:  # it is left out of a run that has ended
            self.replay.load_state_dict(state["replay"])
