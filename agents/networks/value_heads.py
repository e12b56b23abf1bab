"""What a value head says of a return, and what it loses: a number, or a distribution over bins."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.command import UserError

Kind = Literal["regression", "c51", "hl_gauss"]

PADDING = 3.0  # standard deviations of a Gaussian that lie inside the bins at either end


class Lost(NamedTuple):
    """What each of B outputs loses."""

    loss: Tensor
    """(B,)"""
    error: Tensor
    """(B,) at least 0, 0 where there is nothing to learn: the divergence, or the difference."""


class Regression(nn.Module):
    """One number a value; loses the Huber loss of the difference."""

    outputs = 1

    def value(self, outputs: Tensor) -> Tensor:
        """(..., K) outputs to (...) values."""
        return outputs[..., 0]

    def loss(self, outputs: Tensor, reward: Tensor, discount: Tensor, following: Tensor) -> Lost:
        """What (B, K) outputs lose against reward + discount * what follows.

        Args:
            outputs: of the actions taken.
            reward, discount: (B,), discount 0 where nothing follows.
            following: (B, K) outputs of what follows.
        """
        wanted = reward + discount * self.value(following)
        value = self.value(outputs)
        return Lost(F.huber_loss(value, wanted, reduction="none"), (value - wanted).detach().abs())


class C51(nn.Module):
    """A distribution over `bins` returns from `low` to `high` (Bellemare et al. 2017)."""

    def __init__(self, low: float, high: float, bins: int):
        super().__init__()
        self.outputs = bins
        self.register_buffer("support", torch.linspace(low, high, bins), persistent=False)

    def value(self, outputs: Tensor) -> Tensor:
        return mean(outputs.softmax(dim=-1), self.support)

    def loss(self, outputs: Tensor, reward: Tensor, discount: Tensor, following: Tensor) -> Lost:
        moved = reward[:, None] + discount[:, None] * self.support
        return cross_entropy(outputs, projected(moved, following.softmax(dim=-1), self.support))


class HLGauss(nn.Module):
    """A histogram of a Gaussian about the return (Farebrother et al. 2024, arXiv 2403.03950).

    Args:
        low, high: the least and largest return; bins reach further, so that the Gaussian of every
            return lies inside them and its mean is the return.
        bins: how many.
        sigma: its standard deviation in widths of a bin.
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

    def loss(self, outputs: Tensor, reward: Tensor, discount: Tensor, following: Tensor) -> Lost:
        wanted = (reward + discount * self.value(following)).clamp(self.low, self.high)
        return cross_entropy(outputs, histogram(wanted, self.edges, self.sigma))


KINDS: dict[Kind, Callable[[float, float, int], nn.Module]] = {
    "regression": lambda low, high, bins: Regression(),
    "c51": C51,
    "hl_gauss": partial(HLGauss, sigma=0.75),
}


def judge(kind: Kind, low: float, high: float, bins: int) -> nn.Module:
    """How a head's outputs stand for values. Raises UserError where the bins are none."""
    if not low < high or bins < 2 * PADDING:
        raise UserError(
            f"{bins} bins from {low:g} to {high:g} hold no values: give at least 6 bins, "
            "and a range whose first number is below its second"
        )
    return KINDS[kind](low, high, bins)


def projected(moved: Tensor, probabilities: Tensor, support: Tensor) -> Tensor:
    """(B, K) `probabilities` at the returns `moved` (B, K), shared out over `support` (K,).

    Each goes to its two neighbours, by nearness; beyond the ends all goes to the end.
    """
    width = (support[-1] - support[0]) / (len(support) - 1)
    moved = moved.clamp(support[0], support[-1])
    share = (1 - (moved[:, None, :] - support[:, None]).abs() / width).clamp(min=0)
    return torch.einsum("bkj,bj->bk", share, probabilities)


def histogram(value: Tensor, edges: Tensor, sigma: float) -> Tensor:
    """(B, K) how much of a Gaussian about each `value` (B,) lies between the K + 1 `edges`."""
    below = torch.erf((edges - value[:, None]) / (2**0.5 * sigma))
    return below.diff(dim=1) / (below[:, -1:] - below[:, :1])


def centres(edges: Tensor) -> Tensor:
    """(K,) of K + 1 edges."""
    return (edges[:-1] + edges[1:]) / 2


def mean(probabilities: Tensor, support: Tensor) -> Tensor:
    """(...) of (..., K) probabilities at the values of `support` (K,)."""
    return probabilities @ support


def cross_entropy(outputs: Tensor, wanted: Tensor) -> Lost:
    """Of the softmax of `outputs` (B, K) against the probabilities `wanted` (B, K)."""
    loss = -(wanted * outputs.log_softmax(dim=1)).sum(dim=1)
    entropy = -torch.special.xlogy(wanted, wanted).sum(dim=1)
    return Lost(loss, (loss.detach() - entropy).clamp(min=0))
