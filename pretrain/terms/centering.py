"""Features relative to their game, or to their sample: without the mean that is shared.

In a batch of several games, most of the variance is between games, and what a game's screens have
in common is larger than how they differ. A task that asks which screens of a game these are then
gets too small a signal: it is solved as far as the game alone solves it, and the features collapse.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.pretrain.terms.precision import full_precision


@full_precision
def center_per_game(x: Tensor, game: Tensor) -> Tensor:
    """x (B, ...) with mean 0 and variance 1 over the samples of each game in the batch.

    Each number of x is standardised for itself. `game` (B,) int64. The only sample of a game
    becomes zero.
    """
    share = (game[:, None] == game).to(x.dtype)
    share = share / share.sum(1, keepdim=True)
    centered = x - torch.einsum("bc,c...->b...", share, x)
    variance = torch.einsum("bc,c...->b...", share, centered.pow(2))
    return centered / (variance + 1e-5).sqrt()


def center_per_sample(windows: Tensor) -> Tensor:
    """Windows (B, 3, D) less the mean of the three: how a sample's windows differ."""
    return windows - windows.mean(1, keepdim=True)
