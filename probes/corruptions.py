"""Corruptions of screens, each at two severities; every one is a function of the screens alone.

All screens of a stack are corrupted alike but for noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from torchvision.transforms.v2.functional import gaussian_blur

from fovea.seeding import Stream, keyed

Corrupt = Callable[[Tensor, float], Tensor]
"""From float screens (n, stack, H, W) in [0, 255] and how strongly."""


class Corruption(NamedTuple):
    """How it is done, and how strongly at each severity."""

    corrupt: Corrupt
    strengths: tuple[float, float]
    augmented: bool
    """Whether one of Fovea's augmentations does the like, so that pretraining may have seen it."""


def corrupted(screens: Tensor, name: str, severity: int) -> Tensor:
    """(n, stack, H, W) uint8, corrupted by one of CORRUPTIONS at severity 1 or 2."""
    corruption = CORRUPTIONS[name]
    changed = corruption.corrupt(screens.float(), corruption.strengths[severity - 1])
    return changed.round().clamp(0, 255).to(torch.uint8)


def blur(screens: Tensor, sigma: float) -> Tensor:
    """A Gaussian of `sigma` pixels."""
    side = 2 * round(3 * sigma) + 1
    return gaussian_blur(screens, [side, side], [sigma, sigma])


def brightness(screens: Tensor, factor: float) -> Tensor:
    """Every pixel times a factor."""
    return screens * factor


def cut_out(screens: Tensor, share: float) -> Tensor:
    """A black square, its side a share of the screen's, at a place drawn for each stack."""
    height, width = screens.shape[-2:]
    side = round(share * height)
    generator = keyed("cpu", Stream.PROBE_CORRUPTIONS, 0)
    top, left = (
        torch.randint(size - side + 1, (len(screens), 1, 1, 1), generator=generator)
        for size in (height, width)
    )
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return screens.masked_fill(inside.to(screens.device), 0)


def noise(screens: Tensor, std: float) -> Tensor:
    """Gaussian noise of `std` grey levels on every pixel."""
    generator = keyed("cpu", Stream.PROBE_CORRUPTIONS, 1)
    return screens + std * torch.randn(screens.shape, generator=generator).to(screens.device)


def quantise(screens: Tensor, levels: float) -> Tensor:
    """As many grey levels as that, evenly spread; a pixel takes the nearest."""
    step = 255 / (levels - 1)
    return (screens / step).round() * step


def downscale(screens: Tensor, factor: float) -> Tensor:
    """Averaged over squares of `factor` pixels a side, which then all have that value."""
    small = avg_pool2d(screens, int(factor), ceil_mode=True)
    height, width = screens.shape[-2:]
    return interpolate(small, scale_factor=int(factor), mode="nearest")[..., :height, :width]


CORRUPTIONS = {
    "blur": Corruption(blur, (0.5, 1.0), True),
    "brightness": Corruption(brightness, (0.95, 0.8), True),
    "cut_out": Corruption(cut_out, (0.1, 0.25), True),
    "noise": Corruption(noise, (2, 8), False),
    "quantise": Corruption(quantise, (32, 6), False),
    "downscale": Corruption(downscale, (2, 3), False),
}
