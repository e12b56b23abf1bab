"""What agents with a policy and a value share, online (`PPO`) and offline (`Cloned`)."""

from __future__ import annotations

import torch
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from torch import Tensor, nn

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.base import Agent
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.seeding import Stream, seeded


class ActorCriticAgent(Agent):
    """A policy and a value on one hidden layer; it is an `experience.base.ActorCritic`.

    Its arguments are those of `PPO` and `Cloned`, which explain them.
    """

    evaluation = "actions sampled"
    scores_are = "log_probabilities"

    def __init__(
        self,
        encoder: Adapted,
        actions: PositiveInt,
        features: ReadOut,
        hidden: PositiveInt,
        vf_coef: NonNegativeFloat,
        gamma: ClosedUnitInterval,
        lr: NonNegativeFloat,
        adam_eps: PositiveFloat,
        anneal_lr: bool,
        seed: NonNegativeInt,
        keep_screens: bool = False,
    ):
        super().__init__(
            encoder,
            actions,
            features=features,
            lr=lr,
            adam_eps=adam_eps,
            anneal_lr=anneal_lr,
            seed=seed,
            keep_screens=keep_screens,
        )
        self.vf_coef, self.gamma = vf_coef, gamma
        with seeded(Stream.AGENT_HEAD, self.seed):
            make_heads, width = self.extractor.make_heads, self.extractor.width
            self.hidden_layer = make_heads(
                lambda: orthogonal(nn.Linear(width, hidden), 2**0.5), keep_head_index=True
            )
            self.policy = make_heads(lambda: orthogonal(nn.Linear(hidden, self.actions), 0.01))
            self.value = make_heads(lambda: orthogonal(nn.Linear(hidden, 1), 1.0))

    def policy_and_value(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, actions) and values (B,) of observations."""
        return self.of_hidden(self.hidden_units(self.extractor(obs)))

    def action_probabilities(self, screens: Tensor) -> Tensor:
        """(N, actions) the chances of all actions.

        Args:
            screens: (N, stack, H, W) uint8, oldest first; or float pixels in [0, 1], to which
                gradients flow (for captum and its kin).
        """
        return self.action_scores(screens).exp()

    def action_scores(self, screens: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and screens.is_floating_point()):
            features = self.extractor.of_screens(screens.to(self.device))
            return self.of_hidden(self.hidden_units(features))[0]

    def hidden_units(self, features: Tensor) -> Tensor:
        """(B, hidden) what policy and value share, of what the heads are given."""
        return self.hidden_layer(features).relu()

    def of_hidden(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, actions) and values (B,) of hidden units."""
        return self.policy(hidden).log_softmax(dim=1), self.value(hidden)[:, 0]

    def value_alone(self, obs: Tensor) -> Tensor:
        """Values (B,) of observations, with gradients to the value's last layer alone."""
        with torch.no_grad():
            hidden = self.hidden_units(self.extractor(obs))
        return self.value(hidden)[:, 0]

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator, step: int | None = None) -> Tensor:
        return self.sample(self.policy_and_value(obs)[0], generator)


def orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """The layer with orthogonal weights of this gain and no bias."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
