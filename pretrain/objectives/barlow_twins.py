"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230): less redundancy between features.

Each feature of one view correlates with itself in the other view, and with no other feature.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.two_views import SHIFT_AND_INTENSITY, TwoViews
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.mlp import mlp
from fovea.pretrain.terms.precision import full_precision
from fovea.seeding import Stream, seeded


class BarlowTwins(TwoViews):
    """The cross-correlation of two augmented views' embeddings becomes the identity.

    Args:
        projector: width of the three layers that the summary is projected by.
        redundancy: coefficient of the correlations of different features; the paper's lambda.
        scale: of both terms, which are sums over features.
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
        redundancy: NonNegativeFloat = 0.0051,
        scale: PositiveFloat = 0.024,
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
        self.coefficients = {"invariance": scale, "redundancy": scale * redundancy}
        with seeded(Stream.PROJECTOR, self.seed):
            self.projector = mlp(self.encoder.summary_dim, projector, projector, projector)

    def losses(
        self, first: Tensor, second: Tensor, game: Tensor | None = None, *inverse: Tensor
    ) -> dict[str, Tensor]:
        first, second = map(self.projector, self.summaries(self.encode(first, second), game))
        terms = barlow_terms(first, second)
        losses = {name: self.coefficients[name] * value for name, value in terms.items()}
        return losses | self.inverse_losses(game, *inverse)


@full_precision
def barlow_terms(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """How far the (D, D) cross-correlation of embeddings x, y (B, D) is from the identity.

    Squared and summed: on the diagonal, from 1, and off it, from 0; without coefficients.
    """
    x, y = (F.batch_norm(z, None, None, training=True) for z in (x, y))
    correlation = torch.einsum("bi,bj->ij", x, y) / len(x)
    own = correlation.diagonal()
    return {
        "invariance": (1 - own).pow(2).sum(),
        "redundancy": correlation.pow(2).sum() - own.pow(2).sum(),
    }
