"""Multi-query attention pooling: a few learned queries read all tokens into one short vector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fovea.seeding import Stream, seeded


@dataclass(frozen=True)
class MultiQueryShape:
    """The shape of a `MultiQueryReadOut`.

    Args:
        queries: number of learned queries; 0: there is no read-out.
        outputs: numbers that the mean of the tokens that a query attends to is reduced to.
    """

    queries: NonNegativeInt = 0
    outputs: PositiveInt = 24


NO_READ_OUT = MultiQueryShape()


class MultiQueryReadOut(nn.Module):
    """Each of several learned queries takes the mean of the tokens that it attends to.

    One cross-attention without projections of keys and values: a free query makes the first
    superfluous, and without the second every query's result is a mean of the tokens themselves
    (Psomas et al. 2025, arXiv 2506.10178, efficient probing). A linear layer of each query's own
    then reduces its mean.

    Args:
        dim: D, width of the tokens.
        queries: number of learned queries.
        outputs: numbers that each query's mean is reduced to.

    Attributes:
        outputs: width of the result, queries * outputs.
        shape: what it was built from.
    """

    def __init__(self, dim: int, queries: NonNegativeInt = 8, outputs: PositiveInt = 24):
        super().__init__()
        self.dim, self.outputs = dim, queries * outputs
        self.shape = MultiQueryShape(queries, outputs)
        # Of unit variance, so that queries attend to different places of normed tokens at once.
        self.queries = nn.Parameter(torch.randn(queries, dim))
        bound = dim**-0.5
        self.weight = nn.Parameter(torch.empty(queries, outputs, dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(queries, outputs).uniform_(-bound, bound))

    def attention(self, tokens: Tensor) -> Tensor:
        """(B, queries, N): the weight of each of the tokens (B, N, D) for each query; sums to 1."""
        logits = torch.einsum("qd,bnd->bqn", self.queries, tokens) * self.dim**-0.5
        return logits.softmax(dim=-1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, N, D) to (B, queries * outputs), those of the first query first."""
        means = torch.einsum("bqn,bnd->bqd", self.attention(tokens), tokens)
        reduced = torch.einsum("bqd,qod->bqo", means, self.weight) + self.bias
        return reduced.flatten(1)


def make_read_out(shape: MultiQueryShape, dim: int, seed: int) -> MultiQueryReadOut:
    """An untrained read-out of tokens `dim` wide, its initial weights drawn from `seed`."""
    with seeded(Stream.READ_OUT, seed):
        return MultiQueryReadOut(dim, shape.queries, shape.outputs)
