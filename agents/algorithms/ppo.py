"""PPO (Schulman et al. 2017, arXiv 1707.06347) with the details of its Atari experiments."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fovea.agents.algorithms import consistency
from fovea.agents.algorithms.base import Agent
from fovea.agents.experience.on_policy import Rollouts, Samples
from fovea.agents.task import Play
from fovea.command import UserError
from fovea.pretrain.augment import Chain, check
from fovea.seeding import Draws, Stream, seeded


class PPO(Agent):
    """Learns a policy and the value of states from rollouts that it has just played.

    With `corruptions` it plays and estimates advantages on clean screens and is asked, beside its
    own losses, to see the same in corrupted ones: one chain of augmentations is DrAC, several of
    which the worst counts are ROMA (see `algorithms.consistency`).

    Args:
        clip: how far the policy may move from the one that played, as a ratio.
        clip_value: whether the value's move is clipped in the same way.
        value_weight, entropy_weight: of the value loss and of the entropy bonus.
        gamma: discount.
        lam: how far advantages look ahead (GAE).
        rollout: agent steps each environment plays between updates.
        epochs: passes over a rollout.
        minibatches: updates in a pass.
        corruptions: K chains of augmentations (see `pretrain.augment`); an encoder that is frozen
            leaves no screens to corrupt.
        consistency: weight of the policy's divergence and of the value's difference between views.
        only_better: ask it only of steps whose advantage is positive.
    """

    evaluated = "actions sampled"

    def __init__(
        self,
        clip: float = 0.1,
        clip_value: bool = True,
        value_weight: float = 0.5,
        entropy_weight: float = 0.01,
        gamma: float = 0.99,
        lam: float = 0.95,
        rollout: int = 128,
        epochs: int = 4,
        minibatches: int = 4,
        corruptions: list[Chain] | None = None,
        consistency: float = 0.1,
        only_better: bool = False,
        **base,
    ):
        super().__init__(**base)
        self.clip, self.clip_value = clip, clip_value
        self.value_weight, self.entropy_weight = value_weight, entropy_weight
        self.gamma, self.lam = gamma, lam
        self.rollout, self.epochs, self.minibatches = rollout, epochs, minibatches
        self.corruptions = [check(chain) for chain in corruptions or []]
        self.consistency, self.only_better = consistency, only_better
        if self.corruptions and self.eyes.encoder.frozen:
            raise UserError(
                "corruptions need screens, and of a frozen encoder only its features are held: "
                "leave them out, or take an encoder that learns"
            )
        with seeded(Stream.AGENT_HEAD, self.seed):
            heads, width = self.eyes.heads, self.eyes.width
            self.hidden_layer = heads(
                lambda: orthogonal(nn.Linear(width, self.hidden), 2**0.5), marks=True
            )
            self.policy = heads(lambda: orthogonal(nn.Linear(self.hidden, self.actions), 0.01))
            self.value = heads(lambda: orthogonal(nn.Linear(self.hidden, 1), 1.0))

    def judge(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, actions) and values (B,) of what was observed."""
        hidden = self.hidden_layer(self.eyes(observed)).relu()
        return self.policy(hidden).log_softmax(dim=1), self.value(hidden)[:, 0]

    @torch.no_grad()
    def act(self, observed: Tensor, explore: bool, generator: torch.Generator) -> Tensor:
        return self.draw(self.judge(observed)[0], generator)

    def draw(self, logp: Tensor, generator: torch.Generator) -> Tensor:
        """Actions (B,) from log-probabilities (B, actions), by Gumbel's trick."""
        uniform = torch.rand(logp.shape, generator=generator).to(logp.device)
        return (logp - (-uniform.log()).log()).argmax(dim=1)

    def losses(self, batch: Samples) -> dict[str, Tensor]:
        """The clipped surrogate, the value loss and the entropy bonus."""
        logp, value = self.judge(batch.observed)
        taken = logp.gather(1, batch.action[:, None])[:, 0]
        ratio = (taken - batch.logp).exp()
        advantage = batch.advantage
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        near = ratio.clamp(1 - self.clip, 1 + self.clip)
        surrogate = torch.minimum(ratio * advantage, near * advantage).mean()
        error = (value - batch.wanted).square()
        if self.clip_value:
            near_value = batch.value + (value - batch.value).clamp(-self.clip, self.clip)
            error = torch.maximum(error, (near_value - batch.wanted).square())
        entropy = -(logp.exp() * logp).sum(dim=1).mean()
        with torch.no_grad():
            clipped = ((ratio - 1).abs() > self.clip).float().mean()
            # Schulman's estimator of how far the policy has moved from the one that played.
            moved = (ratio - 1 - (taken - batch.logp)).mean()
        self.note(entropy=entropy.detach(), clipped=clipped, kl=moved)
        losses = {
            "policy": -surrogate,
            "value": self.value_weight * 0.5 * error.mean(),
            "entropy": -self.entropy_weight * entropy,
        }
        return losses | (self.mind(batch, logp, value) if self.corruptions else {})

    def mind(self, batch: Samples, logp: Tensor, value: Tensor) -> dict[str, Tensor]:
        """What is lost where corrupted views of the batch are judged unlike the clean one."""
        screens = batch.observed
        step, device = self.global_step, screens.device
        draws = Draws(Stream.CONSISTENCY, self.seed, step, len(screens), device)
        judged = self.judge(consistency.views(screens, self.corruptions, draws))
        policy, values = consistency.disagreement(logp, judged[0], value, judged[1])
        if self.only_better:
            policy = policy * (batch.advantage > 0)
        return {
            "consistency": self.consistency * policy.mean(),
            "consistency_value": self.consistency * values.mean(),
        }

    def experience(self, play: Play) -> Rollouts:
        return Rollouts(
            play,
            self,
            length=self.rollout,
            epochs=self.epochs,
            minibatches=self.minibatches,
            gamma=self.gamma,
            lam=self.lam,
        )


def orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """The layer with orthogonal weights of this gain and no bias."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
