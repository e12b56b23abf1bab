"""What the probe `state` reads of features: as agents are given them, after each block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fovea.pretrain.encoders.encoder import Encoder, Features, inference
from fovea.pretrain.encoders.feature_norm import FeatureNorm, FeatureNormKind
from fovea.pretrain.encoders.read_out import SELECTIONS, ReadOut, ReadOutKind, make_norm
from fovea.probes.features import BATCH, Split, Splits, evenly_spaced, stacks
from fovea.probes.linear import Axes
from fovea.probes.of_agents import blocks_of

POOLED: tuple[ReadOutKind, ...] = ("cls", "mean", "cls_and_mean")
LINEAR: tuple[ReadOutKind, ...] = (*POOLED, "tokens")
"""Kinds of the agents' setting `features` that learn nothing."""
READ_OUTS: tuple[ReadOutKind, ...] = (*LINEAR, "attention")
KEPT = 1024  # components of all tokens; of regressions on more, the axes alone take minutes


class ReadOuts(NamedTuple):
    """What is read of the stacks of a split after one block, through the norm of heads."""

    linear: dict[str, Tensor]
    """(n, F) float32 of each of LINEAR; tokens are components (see `Components`)."""
    tokens: Tensor
    """(n, N, D) float16, as replay holds them for `attention`; (n, 0, D) before the last block."""


class Components(NamedTuple):
    """Principal components of all normed tokens of a stack, side by side."""

    norm: FeatureNorm
    mean: Tensor
    """(N * D,) float32, of the normed tokens."""
    directions: Tensor
    """(N * D, k) float32."""

    @staticmethod
    def of(tokens: Tensor, norm: FeatureNormKind) -> Components:
        """Of tokens (n, N, D); at most n."""
        fitted = fitted_norm("tokens", norm, Features(tokens[:, 0], tokens))
        normed = fitted(tokens.flatten(1))
        return Components(fitted, normed.mean(0), Axes.plain(normed).directions.float())

    def project(self, normed: Tensor) -> Tensor:
        """(n, k) float32 of normed tokens (n, N * D)."""
        return (normed - self.mean) @ self.directions


def fitted_norm(kind: ReadOutKind, norm: FeatureNormKind, features: Features) -> FeatureNorm:
    """The norm that an agent's heads have of what `kind` selects, fitted to these features."""
    selected = SELECTIONS[kind].select(features)
    fitted = make_norm(ReadOut(kind, norm=norm), features).to(selected.device)
    fitted.fit(selected)
    return fitted


def block_features(encoder: Encoder, screens: Tensor) -> Iterator[Features]:
    """The features after the patch embedding and after each block of a ViT, with its last norm.

    The last are those of the encoder, and all that there is of an encoder without blocks.
    """
    vit = blocks_of(encoder)
    if vit is None:
        yield encoder(screens)
        return
    tokens = vit.embed(vit.scale(screens))
    for block in vit.vit.blocks:
        yield vit.pooled(tokens)
        tokens = block(tokens)
    yield vit.features(*vit.pooled(tokens))


def read_outs(encoder: Encoder, splits: Splits, norm: FeatureNormKind) -> list[list[ReadOuts]]:
    """After each block, of the training, validation and test split of a game.

    Norms are fitted to training stacks. Of all tokens, norm and components are those of KEPT stacks
    at most, evenly spaced: these are encoded first, so that no more are held in full precision.
    """
    with inference(encoder):
        some = evenly_spaced(splits.training.at, KEPT)
        every = zip(*_tokens(encoder, splits.training, some), strict=True)
        fitted = [Components.of(torch.cat(tokens), norm) for tokens in every]
        of_splits = [_of_split(encoder, split, fitted) for split in splits]
    return [_normed(list(of_block), norm) for of_block in zip(*of_splits, strict=True)]


def _tokens(encoder: Encoder, split: Split, at: Tensor) -> Iterator[list[Tensor]]:
    """For each batch: (B, N, D) float32 after each block."""
    for some in at.split(BATCH):
        features = block_features(encoder, stacks(encoder, split.frames, some))
        yield [tokens.float() for _, tokens in features]


class _Read(NamedTuple):
    """Of a split after one block, before vectors are normed."""

    cls: Tensor
    mean: Tensor
    components: Tensor
    tokens: Tensor


def _of_split(encoder: Encoder, split: Split, fitted: list[Components]) -> list[_Read]:
    """After each block, of all stacks of a split; after the last one the probes' own features."""
    batches = []
    for some in split.at.split(BATCH):
        batch = []
        features = block_features(encoder, stacks(encoder, split.frames, some))
        for (cls, tokens), of in zip(features, fitted, strict=True):
            normed = of.norm(tokens.float().flatten(1))
            # Of other blocks than the last all tokens would be too much to hold.
            kept = normed if of is fitted[-1] else normed[:, :0]
            batch.append(
                _Read(
                    cls.float(),
                    tokens.float().mean(1),
                    of.project(normed),
                    kept.half().unflatten(1, (-1, tokens.shape[2])),
                )
            )
        batches.append(batch)
    *before, last = (
        _Read(*map(torch.cat, zip(*of_block, strict=True)))
        for of_block in zip(*batches, strict=True)
    )
    return [*before, last._replace(cls=split.summary, mean=split.mean_token)]


def _normed(of_splits: list[_Read], norm: FeatureNormKind) -> list[ReadOuts]:
    """Vectors through norms that are fitted to those of the first split."""
    given = [Features(read.cls, read.mean[:, None]) for read in of_splits]
    norms = {kind: fitted_norm(kind, norm, given[0]) for kind in POOLED}
    return [
        ReadOuts(
            {kind: of(SELECTIONS[kind].select(features)) for kind, of in norms.items()}
            | {"tokens": read.components},
            read.tokens,
        )
        for features, read in zip(given, of_splits, strict=True)
    ]
