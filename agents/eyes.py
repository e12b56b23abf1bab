"""What an agent sees with: screens to what is kept of them, and that to what heads are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from agents.adapt import Adapted
from pretrain.encoder import Features

Pick = Literal["summary", "tokens_mean", "summary_and_mean"]

PICKS: dict[Pick, Callable[[Features], Tensor]] = {
    "summary": lambda features: features.summary,
    "tokens_mean": lambda features: features.tokens.mean(dim=1),
    "summary_and_mean": lambda features: torch.cat(
        [features.summary, features.tokens.mean(dim=1)], dim=1
    ),
}


class Eyes(nn.Module):
    """An encoder and what of its features the heads are given.

    Args:
        encoder: the encoder.
        features: `summary`, `tokens_mean` (mean over the patch tokens) or both side by side.

    Attributes:
        width: F, how many numbers the heads are given.
    """

    def __init__(self, encoder: Adapted, features: Pick):
        super().__init__()
        self.encoder, self.pick = encoder, PICKS[features]
        blank = Features(torch.empty(1, encoder.dim), torch.empty(1, 1, encoder.dim))
        self.width = self.pick(blank).shape[1]

    @torch.no_grad()
    def observe(self, screens: Tensor) -> Tensor:
        """What rollouts and replay hold of screens (B, stack, H, W) uint8.

        The features (B, F) where the encoder is frozen, the screens themselves where it learns.
        """
        return self.pick(self.encoder(screens)) if self.encoder.frozen else screens

    def forward(self, observed: Tensor) -> Tensor:
        """(B, F) what the heads are given, of what `observe` returned."""
        return observed if self.encoder.frozen else self.pick(self.encoder(observed))
