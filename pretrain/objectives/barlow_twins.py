"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230): features of two views are correlated alike.

That is, each with itself and with no other.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.pretrain.objectives.two_views import TwoViews
from fovea.pretrain.terms.mlp import mlp
from fovea.pretrain.terms.precision import full_precision
from fovea.seeding import Stream, seeded


class BarlowTwins(TwoViews):
    """The cross-correlation of two augmented views' embeddings becomes the identity.

    Args:
        projector: width of the three layers that the summary is projected by.
        redundancy: coefficient of the correlations of different features; the paper's lambda.
        scale: of both terms, which are sums over features.
    """

    def __init__(
        self,
        projector: int = 1024,
        redundancy: float = 0.0051,
        scale: float = 0.024,
        **two_views,
    ):
        super().__init__(**two_views)
        self.coefficients = {"invariance": scale, "redundancy": scale * redundancy}
        with seeded(Stream.PROJECTOR, self.seed):
            self.projector = mlp(self.encoder.dim, projector, projector, projector)

    def losses(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        first, second = (self.projector(view.summary) for view in self.encode(first, second))
        terms = barlow_terms(first, second)
        return {name: self.coefficients[name] * value for name, value in terms.items()}


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
