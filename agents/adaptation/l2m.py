"""L2M, learning to modulate (Schmied et al. 2023, arXiv 2306.14884), on the blocks of a ViT."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from fovea.agents.adaptation.ia3 import scales
from fovea.agents.adaptation.lora import low_rank
from fovea.agents.adaptation.pooled import Pooled
from fovea.pretrain.encoders.encoder import Encoder

Make = Callable[[nn.Module, int, int], Iterable[nn.Module]]

# Of timm's model, a rank and how many entries.
KINDS: dict[str, Make] = {
    "lora": lambda vit, rank, entries: low_rank(vit, rank, 2.0 * rank, entries),
    "ia3": lambda vit, rank, entries: scales(vit, entries),
}


class L2M(Pooled):
    """A pool of modulators for all blocks, of which each sample's screens pick one.

    No game is ever named: while it trains, a next game gets keys that earlier ones did not use,
    and later its screens find them again.

    Args:
        encoder: a reference or an encoder, a ViT.
        modulators: `lora` (changes of queries, values and MLPs that count twice) or `ia3` (scales
            of keys, values and MLPs' activations).
        size: how many there are.
        rank: of `lora`.
        heads: `pool`: as many heads as modulators, picked with them; `shared`: one for all.
        pooled: settings of every pool (see `adaptation.pooled.Pooled`).
    """

    def __init__(
        self,
        encoder: str | Encoder,
        modulators: Literal["lora", "ia3"] = "lora",
        size: PositiveInt = 30,
        rank: PositiveInt = 8,
        heads: Literal["pool", "shared"] = "pool",
        **pooled,
    ):
        super().__init__(
            encoder, lambda vit: KINDS[modulators](vit, rank, size), size, picks=1, **pooled
        )
        self.heads = size if heads == "pool" else 0

    def enter(self, picked: Tensor | None) -> None:
        super().enter(None if picked is None else picked[:, 0])
