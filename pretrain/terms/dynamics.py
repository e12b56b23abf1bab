"""A causal transformer that predicts the next embedding, conditioned by adaptive layer norms."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class Block(nn.Module):
    """Causal attention and an MLP, shifted, scaled and gated by a condition.

    AdaLN-Zero (Peebles & Xie 2022, arXiv 2212.09748): gates start from 0, so that an untrained
    block returns what it is given.

    Args:
        width: of the tokens and of the condition.
        heads: of the attention.
        head_dim: width of a head.
    """

    def __init__(self, width: int, heads: int, head_dim: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        nn.init.zeros_(self.modulation[-1].weight)
        nn.init.zeros_(self.modulation[-1].bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, T, width), of tokens and conditions of that shape."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(condition).chunk(6, -1)
        x = x + gate * self.attention(self.norm(x) * (1 + scale) + shift)
        return x + mlp_gate * self.mlp(self.norm(x) * (1 + mlp_scale) + mlp_shift)

    def attention(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b t (qkv h d) -> qkv b h t d", qkv=3, h=self.heads)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(rearrange(attended, "b h t d -> b t (h d)"))


class Dynamics(nn.Module):
    """From embeddings so far and the actions after each, the next embeddings.

    Args:
        dim: D, width of an embedding.
        condition: C, width of a condition.
        history: the most embeddings it takes.
        depth: number of blocks.
        heads: heads of a block.
        head_dim: width of a head.
        width: of the blocks.
    """

    def __init__(
        self, dim: int, condition: int, history: int, depth: int, heads: int, head_dim: int,
        width: int,
    ):  # fmt: skip
        super().__init__()
        self.into, self.of_condition = nn.Linear(dim, width), nn.Linear(condition, width)
        self.positions = nn.Embedding(history, width)
        self.blocks = nn.ModuleList(Block(width, heads, head_dim) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, dim)

    def forward(self, embeddings: Tensor, condition: Tensor) -> Tensor:
        """(B, T, D): what follows each of the embeddings (B, T, D), given conditions (B, T, C).

        The t-th knows the embeddings and conditions up to the t-th.
        """
        x = self.into(embeddings) + self.positions.weight[: embeddings.shape[1]]
        condition = self.of_condition(condition)
        for block in self.blocks:
            x = block(x, condition)
        return self.out(self.norm(x))
