"""What of an encoder's features is read: which of them, of which blocks, on which scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.encoders.feature_norm import FeatureNorm, FeatureNormKind
from fovea.pretrain.encoders.multi_query import MultiQueryReadOut

ReadOutKind = Literal[
    "cls", "mean", "cls_and_mean", "tokens", "projected_tokens", "locally_connected", "attention"
]


@dataclass(frozen=True)
class ReadOut:
    """What heads are given of an encoder's features.

    Args:
        kind: `cls` (the CLS token of a ViT, the mean of a CNN), `mean` (of the patch tokens),
            `cls_and_mean` (both side by side), `tokens` (all tokens side by side as they are, as
            CNNs are mostly used), or learnt: `projected_tokens` (every token through one linear
            layer that all places share), `locally_connected` (every token through a linear layer of
            its own place) or `attention` (learned queries, each the mean of the tokens that it
            attends to through a linear layer of its own; arXiv 2506.10178).
        blocks: the blocks of the encoder whose features are taken, counted from 1; of several they
            lie side by side. null: the last.
        norm: how features are normalised before that: `none`, `standard` (each by its own mean and
            standard deviation) or `whiten` (the numbers of a token by their principal axes).
        norm_samples: screens that the norm is fitted to before training: of random play, of the
            recordings that are learned from, or of all games of a sequence.
        projection_dim: numbers that a learnt kind keeps of each token, or of each query.
        queries: learned queries of `attention`.
    """

    kind: ReadOutKind = "cls_and_mean"
    blocks: list[PositiveInt] | None = None
    norm: FeatureNormKind = "none"
    norm_samples: PositiveInt = 2048
    projection_dim: PositiveInt = 16
    queries: PositiveInt = 8


class Selection(NamedTuple):
    """What of an encoder's features a kind takes, and in which precision it is stored."""

    select: Callable[[Features], Tensor]
    storage: torch.dtype | None = None
    """Of what rollouts and replay hold of a frozen encoder; None is that of the network."""


def _tokens(features: Features) -> Tensor:
    return features.tokens


# All tokens are many numbers: in half precision the same memory holds twice the steps.
SELECTIONS: dict[ReadOutKind, Selection] = {
    "cls": Selection(lambda features: features.summary),
    "mean": Selection(lambda features: features.tokens.mean(dim=1)),
    "cls_and_mean": Selection(
        lambda features: torch.cat([features.summary, features.tokens.mean(dim=1)], dim=1)
    ),
    "tokens": Selection(lambda features: features.tokens.flatten(1), torch.float16),
    "projected_tokens": Selection(_tokens, torch.float16),
    "locally_connected": Selection(_tokens, torch.float16),
    "attention": Selection(_tokens, torch.float16),
}

# What is learnt of tokens, from their number N, their width D and the settings.
LEARNT: dict[ReadOutKind, Callable[[int, int, ReadOut], nn.Module]] = {
    "projected_tokens": lambda places, dim, how: nn.Sequential(
        nn.Linear(dim, how.projection_dim), nn.Flatten()
    ),
    "locally_connected": lambda places, dim, how: LocallyConnected(places, dim, how.projection_dim),
    "attention": lambda places, dim, how: MultiQueryReadOut(dim, how.queries, how.projection_dim),
}


def make_norm(how: ReadOut, features: Features) -> FeatureNorm:
    """The norm, not fitted yet, of what `how` selects of features such as these."""
    shape = SELECTIONS[how.kind].select(features).shape[1:]
    # Tokens are whitened each by itself, also where they lie side by side.
    width = features.tokens.shape[2] if how.kind == "tokens" else shape[-1]
    return FeatureNorm(how.norm, shape, width)


class LocallyConnected(nn.Module):
    """A linear layer of its own for the token at each place, side by side.

    It starts as `nn.Linear` does, uniform in +-1 / sqrt(D).

    Args:
        places: N.
        dim: D, width of the tokens.
        outputs: numbers that each token is reduced to.
    """

    def __init__(self, places: int, dim: int, outputs: int):
        super().__init__()
        bound = dim**-0.5
        self.weight = nn.Parameter(torch.empty(places, dim, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(places, outputs).uniform_(-bound, bound))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, D) to (B, N * outputs)."""
        return (torch.einsum("bnd,ndo->bno", tokens, self.weight) + self.bias).flatten(1)
