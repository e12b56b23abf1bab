"""What an encoder gives after each of its blocks, and what may be read of that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fovea.pretrain.encoders.encoder import Encoder, Features, inference
from fovea.pretrain.encoders.vit import ViT
from fovea.probes.features import BATCH, Split, Splits, evenly_spaced, stacks
from fovea.probes.linear import Axes

READ_OUTS = ("cls", "mean", "cls_and_mean", "tokens")
"""Values of the agents' setting `features` without a learned projection."""
KEPT = 1024  # components of all tokens; of regressions on more, the axes alone take minutes


class ReadOuts(NamedTuple):
    """What may be read of the stacks of a split, after one block."""

    cls: Tensor
    """(n, D) float32."""
    mean: Tensor
    """(n, D) float32, of the tokens."""
    tokens: Tensor
    """(n, k) float32: principal components of all standardised tokens."""

    @property
    def cls_and_mean(self) -> Tensor:
        """(n, 2 D) float32."""
        return torch.cat([self.cls, self.mean], dim=1)


class Components(NamedTuple):
    """Principal components of all tokens of a stack, side by side and standardised."""

    mean: Tensor
    """(N * D,) float32."""
    directions: Tensor
    """(N * D, k) float32."""

    @staticmethod
    def of(tokens: Tensor) -> Components:
        """Of tokens (n, N * D); at most n."""
        mean, std = tokens.mean(0), tokens.std(0, unbiased=False)
        scale = torch.where(std > 1e-6, std, torch.inf)
        directions = Axes.plain((tokens - mean) / scale).directions
        return Components(mean, directions.float() / scale[:, None])

    def project(self, tokens: Tensor) -> Tensor:
        """(n, k) float32 of tokens (n, N * D)."""
        return (tokens - self.mean) @ self.directions


def block_features(encoder: Encoder, screens: Tensor) -> Iterator[Features]:
    """The features after the patch embedding and after each block of a ViT, with its last norm.

    The last are those of the encoder, and all that there is of an encoder without blocks.
    """
    if not isinstance(encoder, ViT):
        yield encoder(screens)
        return
    vit, first = encoder.vit, encoder.vit.num_prefix_tokens
    tokens = encoder.embed(encoder.scale(screens))
    for block in (nn.Identity(), *vit.blocks):
        tokens = block(tokens)
        normed = vit.norm(tokens)
        yield Features(normed[:, 0], normed[:, first:])


def read_outs(encoder: Encoder, splits: Splits) -> list[list[ReadOuts]]:
    """After each block, of the training, validation and test split of a game.

    Components of all tokens are those of KEPT training stacks at most, evenly spaced, and need no
    labels. These stacks are encoded first, so that no more tokens than theirs are held at once.
    """
    with inference(encoder):
        some = evenly_spaced(splits.training.at, KEPT)
        every = zip(*_tokens(encoder, splits.training, some), strict=True)
        fitted = [Components.of(torch.cat(tokens)) for tokens in every]
        of_splits = [_of_split(encoder, split, fitted) for split in splits]
    return [list(of_block) for of_block in zip(*of_splits, strict=True)]


def _tokens(encoder: Encoder, split: Split, at: Tensor) -> Iterator[list[Tensor]]:
    """For each batch: (B, N * D) float32 after each block."""
    for some in at.split(BATCH):
        features = block_features(encoder, stacks(encoder, split.frames, some))
        yield [tokens.flatten(1).float() for _, tokens in features]


def _of_split(encoder: Encoder, split: Split, fitted: list[Components]) -> list[ReadOuts]:
    """After each block, of all stacks of a split; after the last one the probes' own features."""
    batches = []
    for some in split.at.split(BATCH):
        features = block_features(encoder, stacks(encoder, split.frames, some))
        batches.append(
            [
                ReadOuts(cls.float(), tokens.float().mean(1), of.project(tokens.float().flatten(1)))
                for (cls, tokens), of in zip(features, fitted, strict=True)
            ]
        )
    *before, last = (
        ReadOuts(*map(torch.cat, zip(*of_block, strict=True)))
        for of_block in zip(*batches, strict=True)
    )
    return [*before, last._replace(cls=split.summary, mean=split.mean_token)]
