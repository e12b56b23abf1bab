"""Features as they differ within a game, for batches of several games.

What sets games apart is the larger part of the variance of a batch, and what the screens of a game
share is larger than what tells them apart. A task that asks which screens of a game these are then
starves for scale: it is solved as far as the game solves it, and its features go to one point.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.pretrain.terms.precision import full_precision


@full_precision
def within(x: Tensor, game: Tensor) -> Tensor:
    """x (B, ...), each number standardised over those samples of the batch that are of its game.

    `game` (B,) int64. A sample that is alone with its game becomes zero.
    """
    share = (game[:, None] == game).to(x.dtype)
    share = share / share.sum(1, keepdim=True)
    apart = x - torch.einsum("bc,c...->b...", share, x)
    variance = torch.einsum("bc,c...->b...", share, apart.pow(2))
    return apart / (variance + 1e-5).sqrt()


def apart(windows: Tensor) -> Tensor:
    """What sets the windows (B, 3, D) of a sample apart: each without the mean of the three."""
    return windows - windows.mean(1, keepdim=True)
