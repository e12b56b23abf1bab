"""Features on a scale that heads can learn from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST = 0.1  # of the features' mean std: what hardly moves in random play is not blown up


class Standard(nn.Module):
    """Centres features and scales them to the deviations that random play shows.

    What tells one moment of a game from another is small in an encoder's features: of the study's
    recipe in Pong each deviates by 0.005 about a mean of 0.9, so that heads would begin with inputs
    that hardly differ. RND (Burda et al. 2018, 1810.12894) scales its observations likewise, once,
    from random play.

    Args:
        shape: of one screen's features.

    Attributes:
        screens: how many were measured; 0 leaves features as they are.
    """

    def __init__(self, shape: torch.Size):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        self.register_buffer("screens", torch.tensor(0))

    @torch.no_grad()
    def measure(self, features: Tensor) -> None:
        """Take mean and deviations from features (N, *shape)."""
        std = features.std(dim=0).nan_to_num()  # one screen has none
        self.mean.copy_(features.mean(dim=0))
        self.scale.copy_(1 / std.clamp(min=max(LEAST * float(std.mean()), 1e-6)))
        self.screens.fill_(len(features))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) * self.scale
