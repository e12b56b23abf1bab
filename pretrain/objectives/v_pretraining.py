"""V-Pretraining (Ke & Fanti 2026, arXiv 2601.22108), its first-order tier: a bandit over VICReg's.

Which augmentations, and which weights of its terms, should VICReg have? Those whose gradient points
where a small labelled task wants the encoder to go. The encoder itself never learns from labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fovea.atari.games import ACTIONS, GAMES
from fovea.command import UserError, nearest
from fovea.pretrain.augment import augment, check
from fovea.pretrain.encoders.vit import Shape, require_vit
from fovea.pretrain.objectives.vicreg import VICReg
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.inverse_dynamics import logits_of_game
from fovea.seeding import Draws, Stream, keyed, seeded

CHAINS = "augment_first", "augment_second"
COEFFICIENTS = "invariance", "variance", "covariance"
RATE = 0.2  # of the running mean of an arm's cosines


class VPretraining(VICReg):
    """VICReg whose augmentations and weights are chosen by what they do for a labelled task.

    An arm is a chain of augmentations for each view, and if need be other coefficients. At every
    step one arm is drawn. Every so many steps each arm is valued by the cosine, over the last
    blocks of the encoder, of the gradient of its loss and that of the task's; chances are the
    softmax of the running means. The task is a linear layer on the features, which learns by
    itself from half of the batch; its gradient is of the other half.

    Args:
        arms: each with any of augment_first, augment_second, invariance, variance, covariance; what
            one lacks is as in the settings of these names.
        feedback: the task: `action` (what was done at these screens), `reward` (the sign of what
            came of it); or a control: `random` (the gradient is noise) or `uniform` (no gradient
            is computed, and all arms are as likely).
        every: steps between two valuations.
        last_blocks: of the encoder, whose gradients are compared.
        temperature: of the softmax of cosines.
        expander: width of the three layers that the summary is expanded by.
        invariance: coefficient of the distance of the two views.
        variance: coefficient of the hinge on every feature's standard deviation.
        covariance: coefficient of the squared covariances of different features.
        augment_first: augmentations of the first view.
        augment_second: augmentations of the second view.
        encoder: shape of the encoder that is pretrained, a ViT.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
        center_per_game: compare summaries as they differ within a game.

    Raises UserError for arms with other settings, fewer than two of them, and several ranks.
    """

    def __init__(
        self,
        arms: list[dict],
        feedback: Literal["action", "reward", "random", "uniform"] = "action",
        every: PositiveInt = 8,
        last_blocks: PositiveInt = 2,
        temperature: PositiveFloat = 0.1,
        expander: PositiveInt = 1024,
        invariance: NonNegativeFloat = 25.0,
        variance: NonNegativeFloat = 25.0,
        covariance: NonNegativeFloat = 1.0,
        augment_first: list[dict] = [],  # noqa: B006
        augment_second: list[dict] = [],  # noqa: B006
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
        center_per_game: bool = True,
    ):
        super().__init__(
            expander, invariance, variance, covariance, augment_first, augment_second, 0, encoder,
            optimisation, compiled, seed, center_per_game, 0.0,
        )  # fmt: skip
        self.arms = [self.whole(arm) for arm in arms]
        if len(arms) < 2:
            raise UserError(f"{len(arms)} arms leave nothing to choose: give two or more")
        require_vit(self.encoder, "V-Pretraining compares gradients of the last blocks")
        self.feedback, self.every, self.temperature = feedback, every, float(temperature)
        self.last_blocks = last_blocks
        self.labels = ("game", "action", "reward")
        classes = 3 if feedback == "reward" else len(GAMES) * ACTIONS
        with seeded(Stream.OBJECTIVE_HEAD, self.seed):
            self.task = nn.Linear(self.state_dim, classes)
        self.register_buffer("values", torch.zeros(len(arms)))

    def whole(self, arm: dict) -> dict:
        """An arm with every setting. Raises UserError for those that it cannot have."""
        known = (*CHAINS, *COEFFICIENTS)
        for name in arm:
            if name not in known:
                raise UserError(f"an arm has no {name!r}{nearest(name, known, 1)}")
        own = dict(zip(CHAINS, self.chains, strict=True)) | self.coefficients | arm
        for name in CHAINS:
            check(own[name])
        return own

    @property
    def chances(self) -> Tensor:
        """(arms,) of being drawn."""
        return (self.values / self.temperature).softmax(dim=0)

    @property
    def due(self) -> bool:
        """Whether this step values all arms."""
        return self.training and self.feedback != "uniform" and self.global_step % self.every == 0

    def draw(self) -> int:
        """The arm of this step; the first one where nothing is learnt."""
        if not self.training:
            return 0
        generator = keyed("cpu", Stream.ARMS, self.seed, self.global_step)
        return int(torch.multinomial(self.chances.cpu(), 1, generator=generator))

    def views(  # type: ignore[override]  # it needs all labels
        self, windows: Tensor, draws: Draws, game: Tensor, action: Tensor, reward: Tensor
    ) -> tuple:
        """Screens (B, stack, H, W) uint8 as they are; game and label (B,); the drawn arm.

        And the two views of each arm that is wanted, by number.
        """
        if draws.world > 1:
            raise UserError("V-Pretraining values arms on one device: set trainer.devices to 1")
        screens, drawn = windows[:, 0], self.draw()
        wanted = range(len(self.arms)) if self.due else [drawn]
        pairs = {
            number: [augment(screens, draws, self.arms[number][name]) for name in CHAINS]
            for number in wanted
        }
        label = reward[:, 0].sign().long() + 1 if self.feedback == "reward" else action[:, 0]
        return screens, game[:, 0], label, drawn, pairs

    def losses(  # type: ignore[override]  # it has views of its own
        self,
        screens: Tensor,
        game: Tensor,
        label: Tensor,
        drawn: int,
        pairs: dict[int, Sequence[Tensor]],
    ) -> dict[str, Tensor]:
        losses = self.of_arm(drawn, pairs[drawn], game)
        if self.feedback == "uniform":
            return losses
        notes = dict(self.notes)
        if self.due:
            self.value_arms(screens, game, label, pairs)
        else:
            with torch.no_grad():
                (features,) = self.encode(screens)
            losses["task"] = self.task_loss(self.state(features), game, label)[0::2].mean()
        self.notes = notes
        self.note(**{f"arm/{number}": chance for number, chance in enumerate(self.chances)})
        return losses

    def of_arm(self, number: int, pair: Sequence[Tensor], game: Tensor) -> dict[str, Tensor]:
        """The weighted terms of an arm's two views."""
        arm = self.arms[number]
        self.coefficients = {name: arm[name] for name in COEFFICIENTS}
        return super().losses(*pair, game if self.centered else None)

    def task_loss(self, state: Tensor, game: Tensor, label: Tensor) -> Tensor:
        """(B,) the cross-entropy of each sample's label."""
        logits = self.task(center_per_game(state, game)).float()
        if self.feedback != "reward":
            logits = logits_of_game(logits, game)
        return F.cross_entropy(logits, label, reduction="none")

    def compared(self) -> list[nn.Parameter]:
        """The weights of the last blocks and of the norm after them."""
        vit = self.encoder.vit
        return [*vit.blocks[-self.last_blocks :].parameters(), *vit.norm.parameters()]

    def value_arms(
        self, screens: Tensor, game: Tensor, label: Tensor, pairs: dict[int, Sequence[Tensor]]
    ) -> None:
        """Move the value of each arm towards the cosine of its gradient and the task's."""
        weights = self.compared()
        if self.feedback == "random":
            generator = keyed("cpu", Stream.ARMS, self.seed, self.global_step, 1)
            count = sum(weight.numel() for weight in weights)
            wanted = torch.randn(count, generator=generator).to(screens.device)
        else:
            (features,) = self.encode(screens)
            loss = self.task_loss(self.state(features), game, label)[1::2].mean()
            wanted = gradient(loss, weights)
        for number, pair in pairs.items():
            loss = torch.stack(list(self.of_arm(number, pair, game).values())).sum()
            cosine = F.cosine_similarity(gradient(loss, weights), wanted, dim=0)
            with torch.no_grad():
                self.values[number] += RATE * (cosine - self.values[number])


def gradient(loss: Tensor, weights: Sequence[nn.Parameter]) -> Tensor:
    """The gradient of a loss with regard to weights, as one vector without a graph."""
    each = torch.autograd.grad(loss, weights, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(weight) if grad is None else grad).flatten().float()
            for grad, weight in zip(each, weights, strict=True)
        ]
    )
