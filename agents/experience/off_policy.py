"""Experience for agents that learn from a replay: play a little, sample a batch, and so on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fovea.agents.experience.base import Actor, Task
from fovea.agents.experience.priorities import Priorities, annealed
from fovea.agents.experience.recorded import RecordedSteps
from fovea.agents.experience.replay import Transitions
from fovea.agents.experience.replayed import Replayed
from fovea.command import UserError
from fovea.seeding import Stream, keyed


class OffPolicy(Replayed):
    """Batches of transitions sampled from a replay.

    Args:
        task: the game.
        agent: who plays.
        buffer_size: agent steps that the replay holds.
        batch_size: transitions a batch.
        n_step: steps of reward before the value of the next observation.
        gamma: discount.
        learning_starts: agent steps before the first update.
        train_freq: agent steps between two updates; below 1, several updates a step.
        per_alpha: exponent of prioritised replay; 0 samples uniformly.
        per_beta: initial exponent of its importance weights; it grows to 1 over the run.
        on_disk: hold what was observed in a file in the run folder.
        horizon: from an update and the number of updates to its n_step and gamma, where they
            change; `n_step` is then the largest.
        recordings: folders of recordings that a part of every batch is taken from.
        offline_ratio: that part, of 1.
    """

    heavy = ("replay", "priorities")

    def __init__(
        self,
        task: Task,
        agent: Actor,
        buffer_size: int,
        batch_size: int,
        n_step: int,
        gamma: float,
        learning_starts: int,
        train_freq: float,
        per_alpha: float = 0.0,
        per_beta: float = 0.4,
        on_disk: bool = False,
        horizon: Callable[[int, int], tuple[int, float]] | None = None,
        recordings: Sequence[str] = (),
        offline_ratio: float = 0.0,
    ):
        super().__init__(task, agent, buffer_size, n_step, learning_starts, train_freq, on_disk)
        self.offline_size = round(offline_ratio * batch_size)
        self.batch_size = batch_size - self.offline_size  # of what it plays
        if offline_ratio and not (recordings and self.offline_size and self.batch_size):
            raise UserError(
                f"offline_ratio {offline_ratio:g} of batches of {batch_size}: name the recordings, "
                "and leave at least one step to them and one to what is played"
            )
        self.offline = RecordedSteps(task, agent, recordings, gamma) if offline_ratio else None
        self.data = self.offline.shards.data if self.offline else {}
        self.horizon = horizon or (lambda update, updates: (n_step, gamma))
        self.priorities = Priorities(self.replay, n_step, per_alpha) if per_alpha else None
        self.per_beta = per_beta
        self.sampled: tuple[Tensor, Tensor] | None = None
        self.td_errors: Tensor | None = None

    def batch(self, update: int) -> Transitions:
        self.set_priorities()
        self.play_until_due(update)
        generator = keyed("cpu", Stream.BATCHES, self.task.seed, update)
        updates = self.agent.schedule_steps or self.updates
        n_step, gamma = self.horizon(update, updates)
        if self.priorities:
            beta = annealed(self.per_beta, update, updates)
            row, env, weight = self.priorities.sample(self.batch_size, beta, generator)
            self.sampled = row, env
            transitions = self.replay.transitions(row, env, n_step, gamma)
            transitions = transitions._replace(weight=weight)
        else:
            transitions = self.replay.sample(self.batch_size, n_step, gamma, generator)
        if not self.offline:
            return transitions
        generator = keyed("cpu", Stream.OFFLINE_BATCHES, self.task.seed, update)
        return joined(transitions, self.offline.sample(self.offline_size, n_step, gamma, generator))

    def update_priorities(self, td_errors: Tensor) -> None:
        """Take the absolute TD errors (B,) of the batch that was sampled last.

        They count from the next batch on; before it is asked for nothing waits for their device.
        Those of recorded steps, which come last, are of no use.
        """
        self.td_errors = td_errors[: self.batch_size]

    def set_priorities(self) -> None:
        """Make the errors that were given last the priorities of their transitions."""
        if self.priorities and self.sampled and self.td_errors is not None:
            self.priorities.update(*self.sampled, self.td_errors.cpu())
            self.td_errors = None

    def advance(self) -> None:
        obs = self.obs
        action = self.agent.act(obs, self.action_generator(), self.played)
        self.store(obs, action, self.step(action))
        if self.priorities:
            self.priorities.appended()

    def state_dict(self) -> dict:
        self.set_priorities()
        state = super().state_dict()
        return state | ({"priorities": self.priorities.state_dict()} if self.priorities else {})

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        if self.priorities and "priorities" in state:
            self.priorities.load_state_dict(state["priorities"])


def joined(played: Transitions, recorded: Transitions) -> Transitions:
    """One batch of two; recorded steps have a weight of 1, and returns to go are left out."""
    counts = len(played.action), len(recorded.action)
    weight = torch.cat([played.weight.expand(counts[0]), torch.ones(counts[1])])
    obs, action, reward, discount, next_obs = (
        torch.cat(both) for both in zip(played[:5], recorded[:5], strict=True)
    )
    return Transitions(obs, action, reward, discount, next_obs, weight)
