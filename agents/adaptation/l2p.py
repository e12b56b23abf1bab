"""L2P, learning to prompt: each sample's tokens are picked from a pool."""

from __future__ import annotations

from jsonargparse.typing import PositiveInt

from fovea.agents.adaptation.pooled import Pooled
from fovea.agents.adaptation.prompts import Prompt
from fovea.pretrain.encoders.encoder import Encoder


class L2P(Pooled):
    """Learning to prompt (Wang et al. 2022, arXiv 2112.08654): each sample's tokens are picked.

    Args:
        encoder: a reference or an encoder, a ViT.
        size: prompts in the pool.
        length: tokens of a prompt.
        picks: prompts that a sample picks.
        pooled: settings of every pool (see `adaptation.pooled.Pooled`).
    """

    def __init__(
        self,
        encoder: str | Encoder,
        size: PositiveInt = 100,
        length: PositiveInt = 5,
        picks: PositiveInt = 5,
        **pooled,
    ):
        super().__init__(
            encoder,
            lambda vit: [Prompt(vit.blocks, vit.embed_dim, length, size, deep=False)],
            size,
            picks,
            **pooled,
        )
