"""What an agent sees with: screens to what is kept of them, and that to what heads are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fovea.agents.adaptation.base import Adapted
from fovea.agents.networks.feature_norm import Standard
from fovea.agents.networks.head_pool import HeadPool
from fovea.pretrain.encoders.encoder import Features
from fovea.progress import bar
from fovea.seeding import Stream, seeded

Pick = Literal["summary", "tokens_mean", "summary_and_mean", "tokens", "flat"]


class Part(NamedTuple):
    """What of an encoder's features is taken, and how it is held where the encoder is frozen."""

    take: Callable[[Features], Tensor]
    held: torch.dtype = torch.float32


PICKS: dict[Pick, Part] = {
    "summary": Part(lambda features: features.summary),
    "tokens_mean": Part(lambda features: features.tokens.mean(dim=1)),
    "summary_and_mean": Part(
        lambda features: torch.cat([features.summary, features.tokens.mean(dim=1)], dim=1)
    ),
    # Of every place: half the bytes hold twice the steps.
    "tokens": Part(lambda features: features.tokens, torch.float16),
    "flat": Part(lambda features: features.tokens.flatten(1), torch.float16),
}


class Eyes(nn.Module):
    """An encoder and what of its features the heads are given.

    Args:
        encoder: the encoder.
        features: `summary`, `tokens_mean` (mean over the tokens), both side by side, `tokens` (each
            through one learnt linear layer of `token_width`, then side by side) or `flat` (all of
            them side by side as they are, which is how CNNs are mostly used).
        token_width: numbers that are left of a token by `tokens`.
        seed: of that layer.

    Attributes:
        width: F, how many numbers the heads are given.
    """

    def __init__(self, encoder: Adapted, features: Pick, token_width: int = 16, seed: int = 0):
        super().__init__()
        self.encoder, self.part = encoder, PICKS[features]
        self.shrink = nn.Identity()
        if features == "tokens":
            with seeded(Stream.TOKEN_PROJECTION, seed):
                self.shrink = nn.Sequential(nn.Linear(encoder.dim, token_width), nn.Flatten())
        tokens = torch.zeros(1, prod(encoder.grid or ()), encoder.dim)
        blank = Features(torch.zeros(1, encoder.dim), tokens)
        taken = self.part.take(blank)
        self.standard = Standard(taken.shape[1:])
        self.width = self.shrink(taken).shape[1]

    def heads(self, make: Callable[[], nn.Module], marks: bool = False) -> nn.Module:
        """The head that `make` makes, or as many as the encoder picks from.

        Args:
            make: a head, from `width` features.
            marks: what it gives is itself features for other such heads.
        """
        if not self.encoder.heads:
            return make()
        return HeadPool((make() for _ in range(self.encoder.heads)), marks)

    def features(self, screens: Tensor) -> Tensor:
        """What is taken of the features of screens (B, stack, H, W), on the heads' scale."""
        return self.standard(self.part.take(self.encoder(screens)))

    @torch.no_grad()
    def measure(self, screens: Iterable[Tensor], count: int) -> None:
        """Take the scale of features from batches of screens (B, stack, H, W), about `count`."""
        mode = self.encoder.training
        self.encoder.eval()  # this is looking, not learning
        seen = []
        with bar("measuring features", "screens", count, delay=2) as shown:
            for some in screens:
                seen.append(self.part.take(self.encoder(some)))
                shown.update(len(some))
        self.encoder.train(mode)
        self.standard.measure(torch.cat(seen))

    @torch.no_grad()
    def observe(self, screens: Tensor) -> Tensor:
        """What rollouts and replay hold of screens (B, stack, H, W) uint8.

        The features (B, F), or (B, N, D) of `tokens`, where the encoder is frozen; the screens
        themselves where it learns.
        """
        if not self.encoder.frozen:
            return screens
        return self.features(screens).to(self.part.held)

    def forward(self, observed: Tensor) -> Tensor:
        """(B, F) what the heads are given, of what `observe` returned."""
        if not self.encoder.frozen:
            return self.encoder.mark(self.shrink(self.features(observed)))
        return self.shrink(observed.float())
