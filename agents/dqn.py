"""DQN (Mnih et al. 2015) with double Q-learning (van Hasselt et al. 2016, arXiv 1509.06461)."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agents.agent import HEADS, Agent
from agents.play import Play
from agents.replay import Transitions
from agents.replayed import Replayed
from pretrain.draws import seeded


class DQN(Agent):
    """Learns the value of every action from replayed transitions.

    Args:
        double: the online network picks the next action and the target network values it.
        target_every: updates between two copies into the target network.
        gamma: discount.
        n_step: steps of reward before the value of what follows.
        batch: transitions an update.
        replay: agent steps that are remembered.
        warmup: agent steps at random before the first update.
        steps_per_update: agent steps between two updates; below 1, several updates a step.
        epsilon_final: chance of a random action once it has fallen from 1.
        epsilon_steps: agent steps over which it falls, after the warm-up.
        epsilon_evaluation: chance of a random action in an evaluation.
    """

    def __init__(
        self,
        double: bool = True,
        target_every: int = 2000,
        gamma: float = 0.99,
        n_step: int = 1,
        batch: int = 32,
        replay: int = 1_000_000,
        warmup: int = 20_000,
        steps_per_update: float = 4,
        epsilon_final: float = 0.01,
        epsilon_steps: int = 250_000,
        epsilon_evaluation: float = 0.001,
        **base,
    ):
        super().__init__(**base)
        self.double, self.target_every = double, target_every
        self.gamma, self.n_step, self.batch = gamma, n_step, batch
        self.replay, self.warmup, self.steps_per_update = replay, warmup, steps_per_update
        self.epsilon_final, self.epsilon_steps = epsilon_final, epsilon_steps
        self.epsilon_evaluation = epsilon_evaluation
        with seeded(self.seed, HEADS):
            self.head = nn.Sequential(
                nn.Linear(self.eyes.width, self.hidden),
                nn.ReLU(),
                nn.Linear(self.hidden, self.actions),
            )
        self.target = copy.deepcopy(nn.Sequential(self.eyes, self.head)).requires_grad_(False)

    @property
    def evaluated(self) -> str:
        return f"epsilon {self.epsilon_evaluation:g}"

    def epsilon(self) -> float:
        """The chance of a random action after the steps played so far."""
        fallen = min(1.0, max(0.0, (self.played - self.warmup) / self.epsilon_steps))
        return 1 + fallen * (self.epsilon_final - 1)

    @torch.no_grad()
    def act(self, observed: Tensor, explore: bool, generator: torch.Generator) -> Tensor:
        chance = self.epsilon() if explore else self.epsilon_evaluation
        at_random = torch.rand(len(observed), generator=generator) < chance
        random = torch.randint(self.actions, (len(observed),), generator=generator)
        if at_random.all():
            return random
        best = self.head(self.eyes(observed)).argmax(dim=1)
        return torch.where(at_random.to(best.device), random.to(best.device), best)

    def losses(self, batch: Transitions) -> dict[str, Tensor]:
        """The Huber loss of the temporal difference."""
        values = self.head(self.eyes(batch.observed))
        with torch.no_grad():
            following = self.target(batch.following)
            choosing = self.head(self.eyes(batch.following)) if self.double else following
            best = following.gather(1, choosing.argmax(dim=1, keepdim=True))[:, 0]
            wanted = batch.reward + batch.discount * best
        taken = values.gather(1, batch.action[:, None])[:, 0]
        return {"td": F.huber_loss(taken, wanted)}

    def training_step(self, batch: Transitions, batch_idx: int) -> Tensor:
        if self.global_step % self.target_every == 0:
            self.target.load_state_dict(nn.Sequential(self.eyes, self.head).state_dict())
        self.note(epsilon=self.epsilon())
        return super().training_step(batch, batch_idx)

    def experience(self, play: Play) -> Replayed:
        return Replayed(
            play,
            self,
            size=self.replay,
            batch=self.batch,
            n_step=self.n_step,
            gamma=self.gamma,
            warmup=self.warmup,
            steps_per_update=self.steps_per_update,
        )
