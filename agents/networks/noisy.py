"""Layers whose weights carry learned noise, which explores (Fortunato et al. 2018, 1706.10295)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NoisyLinear(nn.Linear):
    """A linear layer with factorised Gaussian noise; outside a `noise` block it has none.

    Args:
        width: number of inputs.
        outputs: number of outputs.
        sigma: the noise's initial standard deviation, in units of 1 / sqrt(width).
    """

    def __init__(self, width: int, outputs: int, sigma: float):
        super().__init__(width, outputs)
        bound = width**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        self.weight_noise = nn.Parameter(torch.full((outputs, width), sigma * bound))
        self.bias_noise = nn.Parameter(torch.full((outputs,), sigma * bound))
        self.drawn: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.drawn is None:
            return super().forward(x)
        into, out_of = self.drawn
        # A weight's noise is the product of its input's and its output's: the matrix need not be
        # formed, and each row can have its own.
        noise = out_of * F.linear(x * into, self.weight_noise, self.bias_noise)
        return super().forward(x) + noise


@contextmanager
def noise(network: nn.Module, generator: torch.Generator, rows: int = 1) -> Iterator[None]:
    """Inside the block every noisy layer of `network` has noise drawn from `generator`.

    Args:
        network: whose layers.
        generator: where the draws come from.
        rows: 1 for the same noise in all rows of a batch, or the batch size for one each.
    """
    noisy = [layer for layer in network.modules() if isinstance(layer, NoisyLinear)]
    for layer in noisy:
        layer.drawn = tuple(
            _signed_root(torch.randn(rows, size, generator=generator, device=generator.device))
            .to(layer.weight)
            for size in (layer.in_features, layer.out_features)
        )  # fmt: skip
    try:
        yield
    finally:
        for layer in noisy:
            layer.drawn = None


def _signed_root(drawn: Tensor) -> Tensor:
    return drawn.sign() * drawn.abs().sqrt()
