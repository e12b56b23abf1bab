"""From screens to what is stored of them, and from that to what the heads are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fovea.agents.adaptation.base import Adapted
from fovea.agents.networks.feature_norm import FeatureNorm
from fovea.agents.networks.head_pool import HeadPool
from fovea.pretrain.encoders.encoder import Features
from fovea.progress import bar
from fovea.seeding import Stream, seeded

FeatureKind = Literal["cls", "mean", "cls_and_mean", "projected_tokens", "tokens"]


class FeatureSelection(NamedTuple):
    """What of an encoder's features is used, and in which precision it is stored."""

    select: Callable[[Features], Tensor]
    storage: torch.dtype | None = None
    """Of what rollouts and replay hold of a frozen encoder; None is that of the network."""


SELECTIONS: dict[FeatureKind, FeatureSelection] = {
    "cls": FeatureSelection(lambda features: features.summary),
    "mean": FeatureSelection(lambda features: features.tokens.mean(dim=1)),
    "cls_and_mean": FeatureSelection(
        lambda features: torch.cat([features.summary, features.tokens.mean(dim=1)], dim=1)
    ),
    # All tokens are many numbers: in half precision the same memory holds twice the steps.
    "projected_tokens": FeatureSelection(lambda features: features.tokens, torch.float16),
    "tokens": FeatureSelection(lambda features: features.tokens.flatten(1), torch.float16),
}


class FeatureExtractor(nn.Module):
    """An encoder and what of its features the heads are given.

    Args:
        encoder: the encoder.
        features: `cls` (the summary: the read-out of an encoder that has one, else the
            CLS token of a ViT, the mean of a CNN), `mean` (of the patch tokens),
            `cls_and_mean` (both side by side), `projected_tokens` (every token through one learnt
            linear layer to `token_projection_dim` numbers, then side by side) or `tokens` (all of
            them side by side as they are, as CNNs are mostly used).
        token_projection_dim: numbers that `projected_tokens` keeps of each token.
        seed: of that layer's initial weights.

    Attributes:
        width: F, how many numbers the heads are given.
    """

    def __init__(
        self,
        encoder: Adapted,
        features: FeatureKind,
        token_projection_dim: int = 16,
        seed: int = 0,
    ):
        super().__init__()
        self.encoder, self.selection = encoder, SELECTIONS[features]
        self.projection = nn.Identity()
        if features == "projected_tokens":
            with seeded(Stream.TOKEN_PROJECTION, seed):
                self.projection = nn.Sequential(
                    nn.Linear(encoder.dim, token_projection_dim), nn.Flatten()
                )
        tokens = torch.zeros(1, prod(encoder.grid or ()), encoder.dim)
        selected = self.selection.select(Features(torch.zeros(1, encoder.summary_dim), tokens))
        self.norm = FeatureNorm(selected.shape[1:])
        self.width = self.projection(selected).shape[1]

    def make_heads(self, make: Callable[[], nn.Module], keep_head_index: bool = False) -> nn.Module:
        """The head that `make` makes, or a pool of as many as the encoder chooses from.

        Args:
            make: makes a head that takes `width` features.
            keep_head_index: whether its outputs are features for other such heads, and so are to
                carry the index of the chosen head on.
        """
        if not self.encoder.head_count:
            return make()
        return HeadPool((make() for _ in range(self.encoder.head_count)), keep_head_index)

    def features(self, screens: Tensor) -> Tensor:
        """The selected features of screens (B, stack, H, W), normalised."""
        return self.norm(self.selection.select(self.encoder(screens)))

    @torch.no_grad()
    def fit_norm(self, screens: Iterable[Tensor], count: int) -> None:
        """Take the mean and scale of features from batches of screens (B, stack, H, W).

        Args:
            screens: the batches.
            count: about how many screens they hold, for the progress bar.
        """
        mode = self.encoder.training
        self.encoder.eval()  # nothing is learnt here
        selected = []
        with bar("measuring features", "screens", count, delay=2) as shown:
            for batch in screens:
                selected.append(self.selection.select(self.encoder(batch)))
                shown.update(len(batch))
        self.encoder.train(mode)
        self.norm.fit(torch.cat(selected))

    @torch.no_grad()
    def observe(self, screens: Tensor) -> Tensor:
        """What rollouts and replay store of screens (B, stack, H, W) uint8.

        Of a frozen encoder its features (B, F), of `projected_tokens` (B, N, D); the screens
        themselves where the encoder learns.
        """
        if not self.encoder.frozen:
            return screens
        return self.features(screens).to(self.selection.storage or self.norm.mean.dtype)

    def forward(self, obs: Tensor) -> Tensor:
        """(B, F) what the heads are given, of what `observe` returned."""
        if not self.encoder.frozen:
            return self.encoder.append_head_index(self.projection(self.features(obs)))
        return self.projection(obs.to(self.norm.mean.dtype))
