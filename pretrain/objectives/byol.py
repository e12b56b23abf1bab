"""BYOL (Grill et al. 2020, arXiv 2006.07733): predict a teacher's projection of the other view."""

from __future__ import annotations

import torch.nn.functional as F
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.two_views import SHIFT_AND_INTENSITY, TwoViews
from fovea.pretrain.optim import Optimisation, cosine, share
from fovea.pretrain.terms.mlp import mlp
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Stream, seeded


class BYOL(TwoViews):
    """From one view the student predicts the teacher's projection of the other.

    Args:
        projector: hidden width of projector and predictor.
        out: width of the projections and predictions.
        momentum: of the teacher at first; it goes to 1 along a half-cosine.
        augment_first: augmentations of the first view.
        augment_second: augmentations of the second view.
        later: agent steps from the screens of the first view to those of the second.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
        center_per_game: compare summaries as they differ within a game.
        inverse_weight: coefficient of inverse dynamics as an added term (see `TwoViews`); 0 leaves
            it out.
    """

    def __init__(
        self,
        projector: PositiveInt = 1024,
        out: PositiveInt = 256,
        momentum: ClosedUnitInterval = 0.99,
        augment_first: list[dict] = SHIFT_AND_INTENSITY,
        augment_second: list[dict] = SHIFT_AND_INTENSITY,
        later: NonNegativeInt = 0,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
        center_per_game: bool = False,
        inverse_weight: NonNegativeFloat = 0.0,
    ):
        super().__init__(
            augment_first, augment_second, later, encoder, optimisation, compiled, seed,
            center_per_game, inverse_weight,
        )  # fmt: skip
        self.momentum = momentum
        with seeded(Stream.PROJECTOR, self.seed):
            self.projector = mlp(self.encoder.summary_dim, projector, out)
            self.predictor = mlp(out, projector, out)
        self.teacher = make_teacher(self.encoder)
        self.teacher_projector = make_teacher(self.projector)

    def losses(
        self, first: Tensor, second: Tensor, game: Tensor | None = None, *inverse: Tensor
    ) -> dict[str, Tensor]:
        student = self.summaries(self.encode(first, second), game)
        predictions = [self.predictor(self.projector(view)) for view in student]
        teacher = self.summaries(self.encode(first, second, by=self.teacher), game)
        targets = [self.teacher_projector(view) for view in teacher]
        return {
            "prediction": byol_loss(*predictions, *targets),
            **self.inverse_losses(game, *inverse),
        }

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        momentum = cosine(self.momentum, 1.0, share(step, steps))
        return super().schedules(step, steps) | {"the teacher's momentum": momentum}

    def after_optimizer_step(self) -> None:
        momentum = cosine(self.momentum, 1.0, self.progress)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_projector, self.projector, momentum)


@full_precision
def byol_loss(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Squared distances of the unit vectors of prediction and projection, p1 to z2 and p2 to z1.

    All (B, D); summed over both, mean over the batch, so from 0 to 8.
    """
    return _distance(p1, z2) + _distance(p2, z1)


def _distance(x: Tensor, y: Tensor) -> Tensor:
    return (F.normalize(x, dim=1) - F.normalize(y, dim=1)).pow(2).sum(1).mean()
