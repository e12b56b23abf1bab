"""Ways to use a pretrained encoder in an agent: each an Encoder around an Encoder.

A new one is one class here or in a file of its own; agents never know which they were given.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pretrain.encoder import Encoder, Features
from pretrain.folder import load_encoder


class Adapted(Encoder):
    """An encoder as agents take it.

    Args:
        encoder: a reference (see `pretrain.folder.load_encoder`) or an encoder.

    Attributes:
        frozen: whether its features of the same screens are always the same bits.
        lr_scale: its learning rate as a share of the heads'.
    """

    frozen = False
    lr_scale = 1.0

    def __init__(self, encoder: str | Encoder):
        super().__init__()
        self.encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
        inner = self.encoder
        self.dim, self.grid, self.stack, self.screen = (
            inner.dim,
            inner.grid,
            inner.stack,
            inner.screen,
        )

    def forward(self, screens: Tensor) -> Features:
        return self.encoder(screens)

    def encode(self, pixels: Tensor) -> Features:
        return self.encoder.encode(pixels)

    def attention(self, screens: Tensor) -> Tensor:
        return self.encoder.attention(screens)

    def penalties(self) -> dict[str, Tensor]:
        """Named, weighted scalar losses of this step, beside those of the agent."""
        return {}

    def settle(self) -> None:
        """New experience begins: what of this encoder must not change within it is taken over."""

    def remember(self, losses: Iterator[Tensor]) -> None:
        """A game of a sequence ends: `losses` are the agent's on further batches of it, endlessly.

        Each is a scalar with its graph, made when it is taken.
        """

    def next_task(self) -> None:
        """A sequence of games goes on to its next one."""

    @property
    def margin(self) -> tuple[int, int]:
        return self.encoder.margin

    @property
    def seen(self) -> tuple[int, int]:
        return self.encoder.seen


class Frozen(Adapted):
    """Its weights never move by a bit and it never leaves eval mode.

    Rollouts and replay hold its features, so that it is run once per observation.
    """

    frozen = True

    def __init__(self, encoder: str | Encoder):
        super().__init__(encoder)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> Frozen:
        # What never moves is shared: a target network holds no second one.
        return self

    @torch.no_grad()
    def forward(self, screens: Tensor) -> Features:
        return self.encoder(screens)


class FineTuned(Adapted):
    """Learns with the heads.

    Args:
        encoder: a reference or an encoder.
        lr_scale: its learning rate as a share of the heads'; 1 for one that starts untrained.
    """

    def __init__(self, encoder: str | Encoder, lr_scale: float = 0.1):
        super().__init__(encoder)
        self.lr_scale = lr_scale
