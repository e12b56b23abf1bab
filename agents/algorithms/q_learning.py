"""What agents that learn the values of actions share, online (`DQN`) and offline (`CalQL`)."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import cast

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
from fovea.agents.experience.replay import Transitions
from fovea.agents.networks.feature_extractor import FeatureExtractor
from fovea.agents.networks.heads import head
from fovea.agents.networks.noisy import noise
from fovea.agents.networks.value_heads import ValueHeadKind, ValueLoss, make_value_head
from fovea.command import UserError
from fovea.pretrain.augment import shift
from fovea.pretrain.encoders.read_out import ReadOut
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Draws, Stream, keyed, seeded


class QAgent(Agent):
    """Learns the values of actions from transitions, wherever they come from.

    Its arguments are those of `DQN` and `CalQL`, which explain them.

    Attributes:
        act_with_target: whether the target network chooses actions, in place of the online one.
    """

    act_with_target = False
    scores_are = "values"

    def __init__(
        self,
        encoder: Adapted,
        actions: PositiveInt,
        features: ReadOut,
        hidden: PositiveInt,
        double_q: bool,
        dueling: bool,
        noisy: NonNegativeFloat,
        value_head: ValueHeadKind,
        value_range: tuple[float, float],
        bins: PositiveInt,
        target_update_interval: PositiveInt,
        tau: ClosedUnitInterval,
        gamma: ClosedUnitInterval,
        n_step: PositiveInt,
        batch_size: PositiveInt,
        shift: NonNegativeInt,
        epsilon_evaluation: ClosedUnitInterval,
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
            keep_screens=shift > 0 or keep_screens,
        )
        self.double_q, self.shift = double_q, shift
        self.target_update_interval, self.tau = target_update_interval, tau
        self.gamma, self.n_step, self.batch_size = gamma, n_step, batch_size
        self.epsilon_evaluation = epsilon_evaluation
        self.evaluation = f"epsilon {epsilon_evaluation:g}"
        if shift and self.stores_features:
            raise UserError(
                f"model.init_args.shift {shift} moves stored screens, and of a frozen encoder "
                "only features are stored: set it to 0, or let the encoder learn"
            )
        self.value_head = make_value_head(value_head, *value_range, bins)
        self.new_head = partial(
            head,
            self.extractor.width,
            hidden,
            self.actions,
            self.value_head.outputs,
            dueling=dueling,
            noisy=noisy,
        )
        self.head = self.make_head(seed)
        self.target = make_teacher(nn.Sequential(self.extractor, self.head))

    def make_head(self, seed: int) -> nn.Module:
        """A head with initial weights drawn from `seed`."""
        with seeded(Stream.AGENT_HEAD, seed):
            return self.extractor.make_heads(self.new_head)

    @torch.no_grad()
    def act(self, obs: Tensor, generator: torch.Generator, step: int | None = None) -> Tensor:
        return self.epsilon_greedy(obs, self.epsilon_evaluation, generator)

    def epsilon_greedy(
        self,
        obs: Tensor,
        epsilon: float | Tensor,
        generator: torch.Generator,
        with_noise: bool = False,
    ) -> Tensor:
        """(N,) the best actions; with chance `epsilon`, one or (N,), a random one instead.

        With `with_noise` each row is valued under a draw of the head's noise of its own.
        """
        count = len(obs)
        at_random = torch.rand(count, generator=generator) < epsilon
        random = torch.randint(self.actions, (count,), generator=generator)
        if at_random.all():
            return random
        extractor, head = self.acting
        with noise(head, generator, count) if with_noise else nullcontext():
            best = self.best(head(extractor(obs)))
        return torch.where(at_random.to(best.device), random.to(best.device), best)

    def best(self, outputs: Tensor) -> Tensor:
        """(B,) the actions with the largest values, of (B, actions * K) outputs."""
        return self.value_head.value(self.by_action(outputs)).argmax(dim=1)

    @property
    def acting(self) -> tuple[FeatureExtractor, nn.Module]:
        """Feature extractor and head of the network that acts."""
        if not self.act_with_target:
            return self.extractor, self.head
        extractor, head = self.target
        return cast(FeatureExtractor, extractor), head

    @property
    def acting_extractor(self) -> FeatureExtractor:
        return self.acting[0]

    def action_scores(self, screens: Tensor) -> Tensor:
        return self.q_values(screens)

    def by_action(self, outputs: Tensor) -> Tensor:
        """(B, actions, K) of (B, actions * K)."""
        return outputs.unflatten(1, (self.actions, -1))

    def q_values(self, screens: Tensor) -> Tensor:
        """(N, actions) the values of all actions, of the network that acts.

        Args:
            screens: (N, stack, H, W) uint8, oldest first; or float pixels in [0, 1], to which
                gradients flow (for captum and its kin).
        """
        extractor, head = self.acting
        with torch.set_grad_enabled(torch.is_grad_enabled() and screens.is_floating_point()):
            outputs = head(extractor.of_screens(screens.to(self.device)))
            return self.value_head.value(self.by_action(outputs))

    def outputs(self, obs: Tensor) -> Tensor:
        """(B, actions, K) outputs of the online network."""
        return self.by_action(self.head(self.extractor(obs)))

    def td_loss(self, outputs: Tensor, batch: Transitions) -> ValueLoss:
        """Loss and TD error of each transition, of the (B, actions, K) outputs of its `obs`."""
        with torch.no_grad():
            next_outputs = self.target(batch.next_obs)
            choosing = self.head(self.extractor(batch.next_obs)) if self.double_q else next_outputs
            best = self.best(choosing)
        each = torch.arange(len(outputs), device=outputs.device)
        return self.value_head.loss(
            outputs[each, batch.action],
            batch.reward,
            batch.discount,
            self.by_action(next_outputs)[each, best],
        )

    def training_step(self, batch: Transitions, batch_idx: int) -> Tensor:
        if self.global_step % self.target_update_interval == 0:
            self.update_target()
        if self.shift:
            batch = shifted(batch, self.shift, self.seed, self.global_step)
        generator = keyed(self.device, Stream.NOISE, self.seed, self.global_step)
        _, target_head = self.target
        with noise(self.head, generator), noise(target_head, generator):
            return super().training_step(batch, batch_idx)

    @torch.no_grad()
    def update_target(self) -> None:
        """Move the target network towards the online one by the share `tau`."""
        pairs = zip(_parts(*self.target), _parts(self.extractor, self.head), strict=True)
        # A frozen encoder is shared, and walking through it took as long as all the rest of this.
        apart = [(mine, theirs) for mine, theirs in pairs if mine is not theirs]
        target, online = map(nn.ModuleList, zip(*apart, strict=True))
        ema_update(target, online, 1 - self.tau)
        for mine, theirs in zip(target.buffers(), online.buffers(), strict=True):
            mine.copy_(theirs)


def _parts(extractor: nn.Module, head: nn.Module) -> list[nn.Module]:
    return [*extractor.children(), head]


def shifted(batch: Transitions, pixels: int, seed: int, step: int) -> Transitions:
    """The batch with every stack of screens moved by itself (Yarats et al. 2021, 2004.13649)."""
    both = torch.cat([batch.obs, batch.next_obs])
    moved = shift(both, Draws(Stream.REPLAY_SHIFT, seed, step, len(both), both.device), pixels)
    obs, next_obs = moved.chunk(2)
    return batch._replace(obs=obs, next_obs=next_obs)
