"""L2M, learning to modulate (Schmied et al. 2023, arXiv 2306.14884), on the blocks of a ViT."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from fovea.agents.adaptation.ia3 import scales
from fovea.agents.adaptation.lora import low_rank
from fovea.agents.adaptation.pooled import Pooled, Query
from fovea.pretrain.encoders.encoder import Encoder

Make = Callable[[nn.Module, int, int], Iterable[nn.Module]]

# Makes modulators from timm's model, a rank and the number of entries.
MODULATORS: dict[str, Make] = {
    "lora": lambda vit, rank, entries: low_rank(vit, rank, 2.0 * rank, entries),
    "ia3": lambda vit, rank, entries: scales(vit, entries),
}


class L2M(Pooled):
    """A pool of modulators for all blocks, of which each sample's screens choose one.

    It is not told the game: while training, a new game gets keys that earlier games did not use,
    and later its screens find them again.

    Args:
        encoder: a reference or an encoder, a ViT.
        modulators: `lora` (low-rank changes of queries, values and MLPs, counted twice) or `ia3`
            (scales of keys, values and MLPs' activations).
        size: number of modulators in the pool.
        rank: of `lora`.
        heads: `pool`: a head for each modulator, chosen with it; `shared`: one for all.
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
        modulators: Literal["lora", "ia3"] = "lora",
        size: PositiveInt = 30,
        rank: PositiveInt = 8,
        heads: Literal["pool", "shared"] = "pool",
        query: Query = "embedded",
        recordings: Sequence[str] = (),
        pull: NonNegativeFloat = 0.5,
        penalty: bool = True,
        key_scale: PositiveFloat = 0.02,
        lr_scale: NonNegativeFloat = 1.0,
    ):
        super().__init__(
            encoder,
            lambda vit: MODULATORS[modulators](vit, rank, size),
            size,
            picks=1,
            query=query,
            recordings=recordings,
            pull=pull,
            penalty=penalty,
            key_scale=key_scale,
            lr_scale=lr_scale,
        )
        self.head_count = size if heads == "pool" else 0

    def enter(self, picked: Tensor | None) -> None:
        super().enter(None if picked is None else picked[:, 0])
