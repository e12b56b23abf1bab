"""Principal components of screens, by a randomised sketch, and whitened."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def halved(screens: Tensor) -> Tensor:
    """(B, stack * H/2 * W/2) float32 in [0, 1]: screens (B, stack, H, W) uint8 at half size."""
    return F.avg_pool2d(screens.float() / 255, 2).flatten(1)


def whitening(pixels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(P, count) and (count,): pixels (n, P) times the first, less the second, is white.

    The leading principal components; zero where the pixels have fewer of them.
    """
    mean, directions, std = principal(pixels, count)
    scale = torch.where(std > 1e-6, 1 / std, 0.0)
    directions = F.pad(directions * scale, (0, count - len(scale)))
    return directions, mean @ directions


def principal(pixels: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """(P,), (P, k) and (k,): mean of pixels (n, P), leading directions, deviations along them.

    By a randomised sketch (Halko et al. 2011) from torch's generator; k is `count`, or all.
    """
    mean = pixels.mean(0)
    # The last of a sketch are its least exact: more are sketched than kept.
    kept = min(count + 16, *pixels.shape)
    _, sizes, directions = torch.svd_lowrank(pixels - mean, kept)
    return mean, directions[:, :count], sizes[:count] / (len(pixels) - 1) ** 0.5
