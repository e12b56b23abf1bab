"""PPO (Schulman et al. 2017, arXiv 1707.06347) with the details of its Atari experiments."""

from __future__ import annotations

import torch
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from torch import Tensor

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms import consistency
from fovea.agents.algorithms.actor_critic import ActorCriticAgent
from fovea.agents.experience.base import Task
from fovea.agents.experience.on_policy import OnPolicy, Samples
from fovea.command import UserError
from fovea.pretrain.augment import Chain, check
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.seeding import Draws, Stream


class PPO(ActorCriticAgent):
    """Learns a policy and the value of states from rollouts that it has just played.

    With `augmentations` it plays and estimates advantages on clean screens, and two more losses ask
    for the same policy and value on augmented ones: with one chain of augmentations this is DrAC,
    with several, of which the worst counts, it is ROMA (see `algorithms.consistency`).

    Args:
        encoder: `Frozen`, `FineTuned` ... around an encoder.
        actions: size of the action set; set by the game.
        features: what the heads are given of the encoder's features.
        hidden: units of the hidden layer that policy and value share.
        clip_coef: how far the probability ratio of an action may move from 1.
        clip_vloss: whether the change of the value is clipped by the same number.
        vf_coef: weight of the value loss.
        ent_coef: weight of the entropy bonus.
        gamma: discount.
        gae_lambda: lambda of generalised advantage estimation.
        num_steps: agent steps of each environment in a rollout.
        update_epochs: passes over a rollout.
        num_minibatches: updates in a pass.
        augmentations: K chains of augmentations (see `pretrain.augment`) of screens that are
            stored, which those of a frozen encoder are not.
        consistency_coef: weight of the policy's divergence and of the value's difference between
            clean and augmented screens.
        positive_advantage_only: count the policy's divergence only at steps whose advantage is
            positive.
        lr: Adam's learning rate of the heads; the encoder's is scaled by its `lr_scale`.
        adam_eps: Adam's epsilon.
        anneal_lr: whether learning rates fall linearly to 0 over the run.
        seed: of the initial heads.
    """

    def __init__(
        self,
        encoder: Adapted,
        actions: PositiveInt,
        features: ReadOut = ReadOut(),
        hidden: PositiveInt = 512,
        clip_coef: PositiveFloat = 0.1,
        clip_vloss: bool = True,
        vf_coef: NonNegativeFloat = 0.5,
        ent_coef: NonNegativeFloat = 0.01,
        gamma: ClosedUnitInterval = 0.99,
        gae_lambda: ClosedUnitInterval = 0.95,
        num_steps: PositiveInt = 128,
        update_epochs: PositiveInt = 4,
        num_minibatches: PositiveInt = 4,
        augmentations: list[Chain] | None = None,
        consistency_coef: NonNegativeFloat = 0.1,
        positive_advantage_only: bool = False,
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
            keep_screens=bool(augmentations),
        )
        self.clip_coef, self.clip_vloss = clip_coef, clip_vloss
        self.ent_coef, self.gae_lambda = ent_coef, gae_lambda
        self.num_steps = num_steps
        self.update_epochs, self.num_minibatches = update_epochs, num_minibatches
        self.augmentations = [check(chain) for chain in augmentations or []]
        self.consistency_coef = consistency_coef
        self.positive_advantage_only = positive_advantage_only
        if self.augmentations and self.stores_features:
            raise UserError(
                "augmentations need screens, and of a frozen encoder only features are stored: "
                "leave them out, or take an encoder that learns"
            )

    def losses(self, batch: Samples) -> dict[str, Tensor]:
        """The clipped surrogate, the value loss and the entropy bonus."""
        logp, value = self.policy_and_value(batch.obs)
        taken = logp.gather(1, batch.action[:, None])[:, 0]
        ratio = (taken - batch.logp).exp()
        advantage = batch.advantage
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        near = ratio.clamp(1 - self.clip_coef, 1 + self.clip_coef)
        surrogate = torch.minimum(ratio * advantage, near * advantage).mean()
        error = (value - batch.target).square()
        if self.clip_vloss:
            change = (value - batch.value).clamp(-self.clip_coef, self.clip_coef)
            error = torch.maximum(error, (batch.value + change - batch.target).square())
        entropy = -(logp.exp() * logp).sum(dim=1).mean()
        with torch.no_grad():
            clipped = ((ratio - 1).abs() > self.clip_coef).float().mean()
            # Schulman's estimator of the divergence from the policy that played.
            kl = (ratio - 1 - (taken - batch.logp)).mean()
        self.note(entropy=entropy.detach(), clipped=clipped, kl=kl)
        losses = {
            "policy": -surrogate,
            "value": self.vf_coef * 0.5 * error.mean(),
            "entropy": -self.ent_coef * entropy,
        }
        return losses | (self.consistency_loss(batch, logp, value) if self.augmentations else {})

    def consistency_loss(self, batch: Samples, logp: Tensor, value: Tensor) -> dict[str, Tensor]:
        """How much policy and value of augmented screens differ from those of the clean ones."""
        screens = batch.obs
        step, device = self.global_step, screens.device
        draws = Draws(Stream.CONSISTENCY, self.seed, step, len(screens), device)
        views = consistency.views(screens, self.augmentations, draws)
        view_logp, view_value = self.policy_and_value(views)
        divergence, difference = consistency.disagreement(logp, view_logp, value, view_value)
        if self.positive_advantage_only:
            divergence = divergence * (batch.advantage > 0)
        return {
            "consistency": self.consistency_coef * divergence.mean(),
            "consistency_value": self.consistency_coef * difference.mean(),
        }

    def make_experience(self, task: Task) -> OnPolicy:
        return OnPolicy(
            task,
            self,
            num_steps=self.num_steps,
            update_epochs=self.update_epochs,
            num_minibatches=self.num_minibatches,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
        )
