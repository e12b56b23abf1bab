"""L2P, learning to prompt: each sample's prompts are chosen from a pool."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from fovea.agents.adaptation.pooled import Pooled, Query
from fovea.agents.adaptation.prompts import Prompt
from fovea.pretrain.encoders.encoder import Encoder


class L2P(Pooled):
    """Learning to prompt (Wang et al. 2022, arXiv 2112.08654): each sample chooses its prompts.

    Args:
        encoder: a reference or an encoder, a ViT.
        size: number of prompts in the pool.
        length: tokens of a prompt.
        picks: number of prompts that a sample chooses.
        query: what keys are compared with: `embedded` (the mean of the patch tokens before the
            first block) or `final` (the CLS token of a second pass, without modulators).
        recordings: folders whose queries give mean and standard deviation to centre queries with;
            not centred by default.
        pull: weight of the loss that moves keys towards the queries that chose them.
        penalty: whether, while training, keys that earlier games used count less.
        key_scale: initial keys are uniform between it and its negative.
        lr_scale: learning rate of modulators and keys as a share of the heads'.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        size: PositiveInt = 100,
        length: PositiveInt = 5,
        picks: PositiveInt = 5,
        query: Query = "embedded",
        recordings: Sequence[str] = (),
        pull: NonNegativeFloat = 0.5,
        penalty: bool = True,
        key_scale: PositiveFloat = 0.02,
        lr_scale: NonNegativeFloat = 1.0,
    ):
        super().__init__(
            encoder,
            lambda vit: [Prompt(vit, length, size, deep=False)],
            size,
            picks,
            query=query,
            recordings=recordings,
            pull=pull,
            penalty=penalty,
            key_scale=key_scale,
            lr_scale=lr_scale,
        )
