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
from torch import Tensor, nn

from fovea.agents.adaptation.base import Adapted
from fovea.agents.algorithms import consistency
from fovea.agents.algorithms.actor_critic import ActorCriticAgent, orthogonal
from fovea.agents.experience.base import Task
from fovea.agents.experience.on_policy import OnPolicy, Samples
from fovea.pretrain.augment import Chain
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.seeding import Draws, Stream, seeded


class PPO(ActorCriticAgent):
    """Learns a policy and the value of states from rollouts that it has just played.

    With `augmentations` it plays and estimates advantages on clean screens, and two more losses ask
    for the same policy and value on augmented ones: with one chain of augmentations this is DrAC,
    with several, of which the worst counts, `positive_advantage_only` and `view_coef`, it is ROMA
    (see `algorithms.consistency`). ROMA has it only where an answer was right; here that is where
    an action was better than expected.

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
        positive_advantage_only: count the policy's divergence, and the surrogate of `view_coef`,
            only at steps whose advantage is positive.
        view_coef: weight of the clipped surrogate of one augmented view of each step, drawn from
            the K, with the advantage of the clean one (ROMA).
        return_coef: weight of an auxiliary loss, in which a linear layer on the hidden units
            predicts the discounted return that followed the action, to the end of the rollout
            (after CAD2RL, Sadeghi & Levine 2017, 1611.04201, whose network is trained by
            Monte-Carlo evaluation alone).
        critic_warmup: agent steps, in whole rollouts, in which only the value's last layer learns,
            and the policy plays as `--init_from` gave it, to the bit: the warm-up of WSRL (Zhou et
            al. 2024, 2412.07762) for an agent without a replay.
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
        view_coef: NonNegativeFloat = 0.0,
        return_coef: NonNegativeFloat = 0.0,
        critic_warmup: NonNegativeInt = 0,
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
        self.augmentations = consistency.checked(augmentations, self.stores_features)
        self.consistency_coef = consistency_coef
        self.positive_advantage_only = positive_advantage_only
        self.view_coef, self.return_coef = view_coef, return_coef
        self.critic_warmup = critic_warmup
        if return_coef:
            with seeded(Stream.AGENT_HEAD, self.seed, 1):
                self.returns = self.extractor.make_heads(
                    lambda: orthogonal(nn.Linear(hidden, self.actions), 1.0)
                )

    def losses(self, batch: Samples) -> dict[str, Tensor]:
        """The clipped surrogate, the value loss and the entropy bonus."""
        if self.global_step < self.warmup_updates:
            return {"value": self.value_loss(self.value_alone(batch.obs), batch)}
        hidden = self.hidden_units(self.extractor(batch.obs))
        logp, value = self.of_hidden(hidden)
        taken = logp.gather(1, batch.action[:, None])[:, 0]
        ratio = (taken - batch.logp).exp()
        surrogate = self.surrogate(ratio, batch).mean()
        entropy = -(logp.exp() * logp).sum(dim=1).mean()
        with torch.no_grad():
            clipped = ((ratio - 1).abs() > self.clip_coef).float().mean()
            # Schulman's estimator of the divergence from the policy that played.
            kl = (ratio - 1 - (taken - batch.logp)).mean()
        self.note(entropy=entropy.detach(), clipped=clipped, kl=kl)
        losses = {
            "policy": -surrogate,
            "value": self.value_loss(value, batch),
            "entropy": -self.ent_coef * entropy,
        }
        if self.return_coef:
            predicted = self.returns(hidden).gather(1, batch.action[:, None])[:, 0]
            losses["return"] = self.return_coef * 0.5 * (predicted - batch.to_go).square().mean()
        return losses | (self.consistency_loss(batch, logp, value) if self.augmentations else {})

    def surrogate(self, ratio: Tensor, batch: Samples) -> Tensor:
        """(B,) the clipped surrogate of probability ratios (B,), with normalised advantages."""
        advantage = batch.advantage
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        near = ratio.clamp(1 - self.clip_coef, 1 + self.clip_coef)
        return torch.minimum(ratio * advantage, near * advantage)

    def value_loss(self, value: Tensor, batch: Samples) -> Tensor:
        """The weighted squared error of values (B,), clipped where that is asked for."""
        error = (value - batch.target).square()
        if self.clip_vloss:
            change = (value - batch.value).clamp(-self.clip_coef, self.clip_coef)
            error = torch.maximum(error, (batch.value + change - batch.target).square())
        return self.vf_coef * 0.5 * error.mean()

    def consistency_loss(self, batch: Samples, logp: Tensor, value: Tensor) -> dict[str, Tensor]:
        """How much policy and value of augmented screens differ from those of the clean ones."""
        screens = batch.obs
        step, device = self.global_step, screens.device
        draws = Draws(Stream.CONSISTENCY, self.seed, step, len(screens), device)
        views = consistency.views(screens, self.augmentations, draws)
        view_logp, view_value = self.policy_and_value(views)
        divergence, difference = consistency.disagreement(logp, view_logp, value, view_value)
        counted = batch.advantage > 0 if self.positive_advantage_only else 1.0
        losses = {
            "consistency": self.consistency_coef * (divergence * counted).mean(),
            "consistency_value": self.consistency_coef * difference.mean(),
        }
        if self.view_coef:
            view = draws.integers(len(self.augmentations)) * len(screens)
            of_view = view_logp[view + torch.arange(len(screens), device=device)]
            ratio = (of_view.gather(1, batch.action[:, None])[:, 0] - batch.logp).exp()
            surrogate = (self.surrogate(ratio, batch) * counted).mean()
            losses["view"] = -self.view_coef * surrogate
        return losses

    def make_experience(self, task: Task) -> OnPolicy:
        experience = OnPolicy(
            task,
            self,
            num_steps=self.num_steps,
            update_epochs=self.update_epochs,
            num_minibatches=self.num_minibatches,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            with_returns=self.return_coef > 0,
        )
        rollout = self.num_steps * task.envs.num_envs
        self.warmup_updates = -(-self.critic_warmup // rollout) * experience.batches
        return experience
