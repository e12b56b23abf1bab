"""What the outputs of a value head mean: a number, or a distribution over bins; and their loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.command import UserError

ValueHeadKind = Literal["regression", "c51", "hl_gauss"]

PADDING = 3.0  # standard deviations by which the bins reach beyond the range at either end


class ValueLoss(NamedTuple):
    """Loss and error of each of B outputs."""

    loss: Tensor
    """(B,)"""
    td_errors: Tensor
    """(B,) at least 0, without gradient: the absolute TD error, or of distributions their
    Kullback-Leibler divergence from the target."""


class Regression(nn.Module):
    """The output is the value; Huber loss of the TD error."""

    outputs = 1

    def value(self, outputs: Tensor) -> Tensor:
        """(..., K) outputs to (...) values."""
        return outputs[..., 0]

    def loss(
        self, outputs: Tensor, reward: Tensor, discount: Tensor, next_outputs: Tensor
    ) -> ValueLoss:
        """The loss against the target reward + discount * next value.

        Args:
            outputs: (B, K), of the actions taken.
            reward: (B,)
            discount: (B,), 0 where the episode is over.
            next_outputs: (B, K), of the best next actions.
        """
        target = reward + discount * self.value(next_outputs)
        value = self.value(outputs)
        return ValueLoss(
            F.huber_loss(value, target, reduction="none"), (value - target).detach().abs()
        )


class C51(nn.Module):
    """A distribution over `bins` returns from `low` to `high` (Bellemare et al. 2017)."""

    def __init__(self, low: float, high: float, bins: int):
        super().__init__()
        self.outputs = bins
        self.register_buffer("support", torch.linspace(low, high, bins), persistent=False)

    def value(self, outputs: Tensor) -> Tensor:
        return mean(outputs.softmax(dim=-1), self.support)

    def loss(
        self, outputs: Tensor, reward: Tensor, discount: Tensor, next_outputs: Tensor
    ) -> ValueLoss:
        moved = reward[:, None] + discount[:, None] * self.support
        return cross_entropy(outputs, projected(moved, next_outputs.softmax(dim=-1), self.support))


class HLGauss(nn.Module):
    """A histogram of a Gaussian around the return (Farebrother et al. 2024, arXiv 2403.03950).

    Args:
        low: the smallest return; bins reach further at both ends, so that the Gaussian of every
            return lies inside them and its mean is the return.
        high: the largest return.
        bins: number of bins.
        sigma: standard deviation of the Gaussian, in bin widths.
    """

    def __init__(self, low: float, high: float, bins: int, sigma: float = 0.75):
        super().__init__()
        width = (high - low) / (bins - 2 * PADDING * sigma)
        pad = PADDING * sigma * width
        self.outputs, self.low, self.high, self.sigma = bins, low, high, sigma * width
        edges = torch.linspace(low - pad, high + pad, bins + 1)
        self.register_buffer("edges", edges, persistent=False)

    def value(self, outputs: Tensor) -> Tensor:
        return mean(outputs.softmax(dim=-1), centres(self.edges))

    def loss(
        self, outputs: Tensor, reward: Tensor, discount: Tensor, next_outputs: Tensor
    ) -> ValueLoss:
        target = (reward + discount * self.value(next_outputs)).clamp(self.low, self.high)
        return cross_entropy(outputs, histogram(target, self.edges, self.sigma))


VALUE_HEADS: dict[ValueHeadKind, Callable[[float, float, int], nn.Module]] = {
    "regression": lambda low, high, bins: Regression(),
    "c51": C51,
    "hl_gauss": HLGauss,
}


def make_value_head(kind: ValueHeadKind, low: float, high: float, bins: int) -> nn.Module:
    """The meaning of a head's outputs as values. Raises UserError for bins that cannot be."""
    if not low < high or bins < 2 * PADDING:
        raise UserError(
            f"{bins} bins from {low:g} to {high:g} hold no values: give at least 6 bins, "
            "and a range whose first number is below its second"
        )
    return VALUE_HEADS[kind](low, high, bins)


def projected(moved: Tensor, probabilities: Tensor, support: Tensor) -> Tensor:
    """(B, K) `probabilities` at the returns `moved` (B, K), shared out over `support` (K,).

    Each is shared between its two neighbours by nearness; beyond the ends it goes to the end.
    """
    width = (support[-1] - support[0]) / (len(support) - 1)
    moved = moved.clamp(support[0], support[-1])
    share = (1 - (moved[:, None, :] - support[:, None]).abs() / width).clamp(min=0)
    return torch.einsum("bkj,bj->bk", share, probabilities)


def histogram(value: Tensor, edges: Tensor, sigma: float) -> Tensor:
    """(B, K) mass of a Gaussian around each `value` (B,) between the K + 1 `edges`."""
    below = torch.erf((edges - value[:, None]) / (2**0.5 * sigma))
    return below.diff(dim=1) / (below[:, -1:] - below[:, :1])


def centres(edges: Tensor) -> Tensor:
    """(K,) centres of the bins between K + 1 edges."""
    return (edges[:-1] + edges[1:]) / 2


def mean(probabilities: Tensor, support: Tensor) -> Tensor:
    """(...) mean of the values of `support` (K,) under (..., K) probabilities."""
    return probabilities @ support


def cross_entropy(outputs: Tensor, target: Tensor) -> ValueLoss:
    """Of the softmax of `outputs` (B, K) against the probabilities `target` (B, K)."""
    loss = -(target * outputs.log_softmax(dim=1)).sum(dim=1)
    entropy = -torch.special.xlogy(target, target).sum(dim=1)
    return ValueLoss(loss, (loss.detach() - entropy).clamp(min=0))
