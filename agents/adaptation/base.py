"""Ways to use a pretrained encoder in an agent: each an Encoder around an Encoder.

A new one is one class here or in a file of its own; agents do not depend on which they are given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.pretrain.encoders.folder import load_encoder
from fovea.pretrain.encoders.vit import ViT


class Adapted(Encoder):
    """An encoder as agents use it.

    Args:
        encoder: a reference (see `encoders.folder.load_encoder`) or an encoder.

    Attributes:
        frozen: whether its features of the same screens never change by a bit.
        lr_scale: its learning rate as a share of the heads'.
        head_count: how many heads an agent keeps, of which each sample's is chosen (see
            `append_head_index`); 0 for one that all samples share.
        fixed_blocks: number of its first blocks whose outputs never change by a bit, where later
            ones learn; None where there is no such division.
    """

    frozen = False
    lr_scale = 1.0
    head_count = 0
    fixed_blocks: int | None = None

    def __init__(self, encoder: str | Encoder):
        super().__init__()
        self.encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
        inner = self.encoder
        self.dim, self.grid = inner.dim, inner.grid
        self.stack, self.screen, self.depth = inner.stack, inner.screen, inner.depth

    def forward(self, screens: Tensor, blocks: Sequence[int] = ()) -> Features:
        return self.encoder(screens, blocks) if blocks else self.encoder(screens)

    def encode(self, pixels: Tensor) -> Features:
        return self.encoder.encode(pixels)

    def encode_blocks(self, pixels: Tensor, blocks: Sequence[int]) -> Features:
        return self.encoder.encode_blocks(pixels, blocks)

    def attention(self, screens: Tensor) -> Tensor:
        return self.encoder.attention(screens)

    def reset_parameters(self, seed: int) -> None:
        """Draw the weights that are added to the encoder anew from `seed`."""

    def append_head_index(self, features: Tensor) -> Tensor:
        """Features (B, F) of the screens encoded last, with each sample's head index appended.

        They are returned as they are where all samples share one head.
        """
        return features

    def penalties(self) -> dict[str, Tensor]:
        """Named, weighted scalar losses of this step, added to those of the agent."""
        return {}

    def notes(self) -> dict[str, Tensor]:
        """Numbers of this step for the log; asked for after the penalties."""
        return {}

    def on_collect_start(self) -> None:
        """Experience is about to be collected: what must not change within it is updated now."""

    def on_task_end(self, losses: Iterator[Tensor]) -> None:
        """A game of a sequence ends.

        Args:
            losses: the agent's on further batches of the game, endlessly: scalars with their
                graphs, each computed when it is asked for.
        """

    def on_task_start(self) -> None:
        """The next game of a sequence begins."""

    # Read when they are asked for: an encoder of one's own that is never filmed needs neither.
    @property
    def margin(self) -> tuple[int, int]:  # type: ignore[override]
        return self.encoder.margin

    @property
    def input_size(self) -> tuple[int, int]:  # type: ignore[override]
        return self.encoder.input_size

    @property
    def summary_dim(self) -> int:
        return self.encoder.summary_dim


class Frozen(Adapted):
    """Its weights never change and it never leaves eval mode.

    Rollouts and replay store its features, so that it runs once per observation.

    Args:
        encoder: a reference or an encoder.
    """

    frozen = True

    def __init__(self, encoder: str | Encoder):
        super().__init__(encoder)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> Frozen:
        # A target network shares it: weights that never change need no copy.
        return self

    def forward(self, screens: Tensor, blocks: Sequence[int] = ()) -> Features:
        # None but those to pixels, which attributions ask for.
        with torch.set_grad_enabled(torch.is_grad_enabled() and screens.requires_grad):
            return super().forward(screens, blocks)


class FineTuned(Adapted):
    """Learns with the heads.

    Where only the last blocks learn, rollouts and replay store the outputs of those before them,
    and what follows is computed when it is learnt from.

    Args:
        encoder: a reference or an encoder.
        lr_scale: its learning rate as a share of the heads'; 1 for one that starts untrained.
        last_k: number of last blocks of a ViT that learn, together with its last norm; by default
            the whole encoder learns.

    Raises UserError for `last_k` of an encoder that has not so many blocks.
    """

    def __init__(
        self,
        encoder: str | Encoder,
        lr_scale: NonNegativeFloat = 0.1,
        last_k: PositiveInt | None = None,
    ):
        super().__init__(encoder)
        self.lr_scale = lr_scale
        self.fixed: list[nn.Module] = []
        if last_k is not None:
            vit = vit_of(self)
            if last_k > len(vit.blocks):
                raise UserError(
                    f"last_k {last_k} is more than the {len(vit.blocks)} blocks of the encoder: "
                    "take fewer, or leave it out and all of it learns"
                )
            self.fixed_blocks = len(vit.blocks) - last_k
            self.fixed = [vit.patch_embed, vit.pos_drop, *vit.blocks[: self.fixed_blocks]]
            self.encoder.requires_grad_(False)
            for module in (*vit.blocks[-last_k:], vit.norm, vit.fc_norm, self.encoder.read_out):
                if module is not None:
                    module.requires_grad_(True)

    def train(self, mode: bool = True) -> FineTuned:
        super().train(mode)
        for module in self.fixed:
            module.eval()
        return self

    def trunk(self, screens: Tensor, last: int) -> Tensor:
        """(B, T, D) the outputs of block number `last`, none above `fixed_blocks`."""
        return self.encoder.trunk(self.encoder.scale(screens), last)

    def attend(self, trunk: Tensor, first: int, blocks: Sequence[int] = ()) -> Features:
        """The features of these blocks, or the last, from the outputs of block number `first`."""
        return self.encoder.attend(trunk, first, blocks)


class Held(Adapted):
    """Its weights are fixed, in eval mode; what a subclass adds or frees learns with the heads.

    Gradients flow through them to what is changed before them.

    Args:
        encoder: a reference or an encoder.
        lr_scale: learning rate of what learns as a share of the heads'.
    """

    def __init__(self, encoder: str | Encoder, lr_scale: NonNegativeFloat = 1.0):
        super().__init__(encoder)
        self.encoder.requires_grad_(False)
        self.lr_scale = lr_scale
        self.train()

    def train(self, mode: bool = True) -> Held:
        super().train(mode)
        self.encoder.eval()
        return self


def vit_of(adapted: Adapted) -> nn.Module:
    """timm's model in a ViT. Raises UserError for any other encoder."""
    if not isinstance(adapted.encoder, ViT):
        raise UserError(
            f"{type(adapted).__name__} changes blocks of a ViT, and a "
            f"{type(adapted.encoder).__name__} has none: take a ViT, or FineTuned "
            "without last_k"
        )
    return adapted.encoder.vit
