"""Features on a scale that heads can learn from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MIN_STD = 0.1  # as a share of the mean std: features that hardly vary are not blown up


class FeatureNorm(nn.Module):
    """Centres features and divides them by their standard deviations over given screens.

    Features of an encoder differ little between moments of one game: those of a pretrained one in
    Pong have a mean of about 0.9 and a standard deviation of 0.005, so that heads would start from
    nearly constant inputs. RND (Burda et al. 2018, 1810.12894) likewise scales its observations
    once, by random play.

    Args:
        shape: of one screen's features.

    Attributes:
        screens: number of screens that mean and scale were taken from; 0 leaves features as they
            are.
    """

    def __init__(self, shape: torch.Size):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        self.register_buffer("screens", torch.tensor(0))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Take mean and standard deviations from features (N, *shape)."""
        std = features.std(dim=0).nan_to_num()  # a single screen has none
        self.mean.copy_(features.mean(dim=0))
        self.scale.copy_(1 / std.clamp(min=max(MIN_STD * float(std.mean()), 1e-6)))
        self.screens.fill_(len(features))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) * self.scale
