"""SIGReg: embeddings look like draws from an isotropic Gaussian along every direction.

Balestriero & LeCun 2025 (LeJEPA, arXiv 2511.08544): along each of many random directions the
statistic of Epps and Pulley (1983, Biometrika 70) compares the characteristic function of a batch
with that of a standard normal, weighted by exp(-t^2 / 2). As in the authors' code and in LeWM's
(arXiv 2603.19312) the integral is over t from -3 to 3 by the trapezoidal rule, in knots on one side
since it is symmetric, and the statistic is multiplied by the number of samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fovea.pretrain.terms.precision import full_precision

LAST = 3.0  # knot; beyond it the weight is below 0.011


@full_precision
def sigreg(x: Tensor, directions: Tensor, game: Tensor, knots: int = 17) -> Tensor:
    """How far embeddings are from standard normal, game by game: a scalar, at least 0.

    Args:
        x: (T, B, D) embeddings at T moments, each of which is compared by itself.
        directions: (D, M), of any length.
        game: (B,) int64. The games of a batch would make any distribution of several clusters, and
            which game it is would pass for information about a screen.
        knots: points of the integral from 0 on.

    Returns the mean over directions, moments and games, each game by its share of the samples.
    """
    slices = x @ F.normalize(directions, dim=0)
    t = torch.linspace(0, LAST, knots, dtype=x.dtype, device=x.device)
    normal = torch.exp(-t.square() / 2)
    weight = normal * 2 * (LAST / (knots - 1))
    weight[[0, -1]] /= 2
    of_game = F.one_hot(game.unique(return_inverse=True)[1]).to(x.dtype)  # (B, G)
    count = of_game.sum(0)
    angles = slices[..., None] * t
    real, imaginary = (
        torch.einsum("bg,tbmk->tgmk", of_game / count, part)
        for part in (angles.cos(), angles.sin())
    )
    error = (real - normal).square() + imaginary.square()
    statistic = (error @ weight).mean((0, 2)) * count
    return (statistic * count).sum() / len(game)
