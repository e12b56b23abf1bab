"""Behaviour cloning: a policy and a value from recordings, for a PPO to start from."""

from __future__ import annotations

import torch.nn.functional as F
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from torch import Tensor

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms.actor_critic import ActorCriticAgent
from fovea.agents.experience.base import Task
from fovea.agents.experience.recorded import Recorded
from fovea.agents.experience.replay import Transitions
from fovea.pretrain.encoders.read_out import ReadOut


class Cloned(ActorCriticAgent):
    """Behaviour cloning: the policy that made the recordings, and the value of following it.

    Args:
        recordings: folder of recordings, or several: of `fovea atari collect` and `fovea agents
            record`.
        encoder: `Frozen`, `FineTuned` ... around an encoder.
        actions: size of the action set; set by the game.
        batch_size: recorded steps per update.
        features: what the heads are given of the encoder's features.
        hidden: units of the hidden layer that policy and value share.
        vf_coef: weight of the value loss.
        gamma: discount of the recorded returns that the value learns.
        lr: Adam's learning rate of the heads; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        anneal_lr: whether learning rates fall linearly to 0 over the run.
        seed: of the initial heads.
    """

    def __init__(
        self,
        recordings: list[str] | str,
        encoder: Adapted,
        actions: PositiveInt,
        batch_size: PositiveInt = 256,
        features: ReadOut = ReadOut(),
        hidden: PositiveInt = 512,
        vf_coef: NonNegativeFloat = 0.5,
        gamma: ClosedUnitInterval = 0.99,
        lr: NonNegativeFloat = 2.5e-4,
        adam_eps: PositiveFloat = 1e-5,
        anneal_lr: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(
            encoder,
            actions,
            features=features,
            hidden=hidden,
            vf_coef=vf_coef,
            gamma=gamma,
            lr=lr,
            adam_eps=adam_eps,
            anneal_lr=anneal_lr,
            seed=seed,
        )
        self.recordings = [recordings] if isinstance(recordings, str) else recordings
        self.batch_size = batch_size

    def losses(self, batch: Transitions) -> dict[str, Tensor]:
        """The negative log-likelihood of the recorded actions, and the value's squared error."""
        logp, value = self.policy_and_value(batch.obs)
        error = (value - batch.to_go).square().mean()
        return {
            "policy": F.nll_loss(logp, batch.action),
            "value": self.vf_coef * 0.5 * error,
        }

    def make_experience(self, task: Task) -> Recorded:
        return Recorded(task, self, self.recordings, self.batch_size, n_step=1, gamma=self.gamma)
