"""Features on a scale that heads can learn from."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from fovea.threads import one_thread

FeatureNormKind = Literal["none", "standard", "whiten"]

MIN_STD = 0.1  # as a share of the mean std: features that hardly vary are not blown up
MIN_VARIANCE = 1e-3  # of a principal axis, as a share of the mean over all axes


class FeatureNorm(nn.Module):
    """Centres features and scales them by how they vary over given screens.

    Features of an encoder differ little between moments of one game: those of a pretrained one in
    Pong have a mean of about 0.9 and a standard deviation of 0.005, so that heads would start from
    nearly constant inputs. RND (Burda et al. 2018, 1810.12894) likewise scales its observations
    once, by random play.

    `standard` divides each feature by its own standard deviation. `whiten` turns the D features of
    a token, less the mean at its place, to the principal axes of their covariance over screens and
    places, and divides by the standard deviation along each: then no two are correlated, and those
    that all places share most do not drown the others. Axes whose variance is less than a
    thousandth of the mean are divided by the square root of that, so that rounding is not blown up.

    Args:
        kind: `none`, `standard` or `whiten`.
        shape: of one screen's features: (F,) or, of tokens, (N, D).
        width: D; of tokens that lie side by side the shape is (N * D,).

    Attributes:
        screens: number of screens that it was fitted to; 0 leaves features as they are.
    """

    def __init__(self, kind: FeatureNormKind, shape: torch.Size, width: int):
        super().__init__()
        self.kind, self.width = kind, width
        self.register_buffer("mean", torch.zeros(shape))
        if kind == "whiten":
            self.register_buffer("axes", torch.eye(self.width))
        else:
            self.register_buffer("scale", torch.ones(shape))
        self.register_buffer("screens", torch.tensor(0))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Take means and scales from features (N, *shape); of kind `none` nothing is taken."""
        if self.kind == "none":
            return
        self.mean.copy_(features.mean(dim=0))
        if self.kind == "whiten":
            self.axes.copy_(whitening((features - self.mean).reshape(-1, self.width)))
        else:
            std = features.std(dim=0).nan_to_num()  # a single screen has none
            self.scale.copy_(1 / std.clamp(min=max(MIN_STD * float(std.mean()), 1e-6)))
        self.screens.fill_(len(features))

    def forward(self, features: Tensor) -> Tensor:
        """(B, *shape) features, normalised."""
        if self.kind != "whiten":
            return (features - self.mean) * self.scale
        centred = (features - self.mean).unflatten(-1, (-1, self.width))
        return (centred @ self.axes).flatten(-2)


def whitening(centred: Tensor) -> Tensor:
    """(D, D) axes, a column each, on which centred features (n, D) are uncorrelated.

    Along each their variance is 1, or less where it is below MIN_VARIANCE of the mean variance.
    """
    x = centred.double()
    products = x.T @ x / len(x)
    with one_thread():
        variances, directions = torch.linalg.eigh(products)
    least = max(MIN_VARIANCE * float(variances.mean()), 1e-12)
    return (directions / variances.clamp(min=least).sqrt()).to(centred.dtype)
