"""BYOL (Grill et al. 2020, arXiv 2006.07733): predict what a slowly following teacher sees."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from fovea.pretrain.objectives.two_views import TwoViews
from fovea.pretrain.optim import cosine
from fovea.pretrain.terms.mlp import mlp
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.teacher import copied, follow
from fovea.seeding import Stream, seeded


class BYOL(TwoViews):
    """From one view the student predicts the teacher's projection of the other.

    Args:
        projector: hidden width of projector and predictor.
        out: width of what is predicted.
        momentum: of the teacher at first; it goes to 1 along a half-cosine.
    """

    def __init__(self, projector: int = 1024, out: int = 256, momentum: float = 0.99, **two_views):
        super().__init__(**two_views)
        self.momentum = momentum
        with seeded(Stream.PROJECTOR, self.seed):
            self.projector = mlp(self.encoder.dim, projector, out)
            self.predictor = mlp(out, projector, out)
        self.teacher, self.teacher_projector = copied(self.encoder), copied(self.projector)

    def losses(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        seen = self.encode(first, second)
        said = [self.predictor(self.projector(view.summary)) for view in seen]
        taught = self.encode(first, second, by=self.teacher)
        wanted = [self.teacher_projector(view.summary) for view in taught]
        return {"prediction": byol_loss(*said, *wanted)}

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        momentum = cosine(self.momentum, 1.0, min(step, steps - 1) / steps)
        return super().schedules(step, steps) | {"the teacher's momentum": momentum}

    def stepped(self) -> None:
        momentum = cosine(self.momentum, 1.0, self.done)
        follow(self.teacher, self.encoder, momentum)
        follow(self.teacher_projector, self.projector, momentum)


@full_precision
def byol_loss(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Squared distances of the unit vectors of prediction and projection, p1 to z2 and p2 to z1.

    All (B, D); summed over both, mean over the batch, so from 0 to 8.
    """
    return _distance(p1, z2) + _distance(p2, z1)


def _distance(x: Tensor, y: Tensor) -> Tensor:
    return (F.normalize(x, dim=1) - F.normalize(y, dim=1)).pow(2).sum(1).mean()
