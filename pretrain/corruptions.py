"""Corruptions of screens, each at two severities, for probes and for evaluations of agents.

All screens of a stack are corrupted alike but for noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, interpolate
from torchvision.transforms.v2.functional import gaussian_blur

from fovea.seeding import Stream, keyed

Corrupt = Callable[[Tensor, float, Generator], Tensor]
"""From float screens (n, stack, H, W) in [0, 255], how strongly, and all that is drawn."""


class Corruption(NamedTuple):
    """How it is done, and how strongly at each severity."""

    corrupt: Corrupt
    strengths: tuple[float, float]
    key: int
    """Of what it draws."""
    augmented: bool
    """Whether one of Fovea's augmentations does the like, so that pretraining may have seen it."""


def corrupted(screens: Tensor, name: str, severity: int, *numbers: int) -> Tensor:
    """(n, stack, H, W) uint8, corrupted by one of CORRUPTIONS at severity 1 or 2.

    It is a function of the screens and of `numbers`, which what it draws depends on.
    """
    corruption = CORRUPTIONS[name]
    generator = keyed("cpu", Stream.PROBE_CORRUPTIONS, corruption.key, *numbers)
    changed = corruption.corrupt(screens.float(), corruption.strengths[severity - 1], generator)
    return changed.round().clamp(0, 255).to(torch.uint8)


def blur(screens: Tensor, sigma: float, _: Generator) -> Tensor:
    """A Gaussian of `sigma` pixels."""
    side = 2 * round(3 * sigma) + 1
    return gaussian_blur(screens, [side, side], [sigma, sigma])


def brightness(screens: Tensor, factor: float, _: Generator) -> Tensor:
    """Every pixel times a factor."""
    return screens * factor


def cut_out(screens: Tensor, share: float, generator: Generator) -> Tensor:
    """A black square, its side a share of the screen's, at a place drawn for each stack."""
    height, width = screens.shape[-2:]
    side = round(share * height)
    top, left = (
        torch.randint(size - side + 1, (len(screens), 1, 1, 1), generator=generator)
        for size in (height, width)
    )
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return screens.masked_fill(inside.to(screens.device), 0)


def noise(screens: Tensor, std: float, generator: Generator) -> Tensor:
    """Gaussian noise of `std` grey levels on every pixel."""
    return screens + std * torch.randn(screens.shape, generator=generator).to(screens.device)


def quantise(screens: Tensor, levels: float, _: Generator) -> Tensor:
    """As many grey levels as that, evenly spread; a pixel takes the nearest."""
    step = 255 / (levels - 1)
    return (screens / step).round() * step


def downscale(screens: Tensor, factor: float, _: Generator) -> Tensor:
    """Averaged over squares of `factor` pixels a side, which then all have that value."""
    small = avg_pool2d(screens, int(factor), ceil_mode=True)
    height, width = screens.shape[-2:]
    return interpolate(small, scale_factor=int(factor), mode="nearest")[..., :height, :width]


CORRUPTIONS = {
    "blur": Corruption(blur, (0.5, 1.0), 2, True),
    "brightness": Corruption(brightness, (0.95, 0.8), 3, True),
    "cut_out": Corruption(cut_out, (0.1, 0.25), 0, True),
    "noise": Corruption(noise, (2, 8), 1, False),
    "quantise": Corruption(quantise, (32, 6), 4, False),
    "downscale": Corruption(downscale, (2, 3), 5, False),
}
