"""How much of the state can be read with how many labelled screens, of what, and after which block.

Screens without labels are plentiful, labels may be few: features go through the norm that agents
have, fitted to all training screens, and a ridge regression then learns from some labelled ones.
These are spread over the training episodes, and the smaller of two sets is a part of the larger.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import fmean, pstdev

import torch
from torch import Tensor

from fovea.pretrain.encoders.encoder import Encoder, Features
from fovea.pretrain.encoders.feature_norm import FeatureNormKind
from fovea.probes.features import Splits
from fovea.probes.linear import Fit, linear
from fovea.probes.references import Pixels
from fovea.probes.state_attentive import attentive
from fovea.probes.state_read_outs import LINEAR, READ_OUTS, fitted_norm, read_outs
from fovea.seeding import Stream, keyed

COUNTS = (100, 300, 1000, 3000)
REPEATED = 1000  # sets of fewer labels are drawn several times
ALL = "all"
BLOCK_LABELS = ("300", ALL)  # at which every block is read; the last one at all counts
Score = Callable[[Tensor], float]
"""What predictions (n, V) for the test split are worth."""
Predict = Callable[[Fit, Fit, Tensor, int], Tensor]
"""From labelled stacks, validation, features of others and the number of the draw: (n, V)."""
Scores = dict[str, dict[str, list[float]]]
"""{read-out: {number of labels: the score of each draw}}."""


def label_sets(training: int, seed: int, draws: int) -> dict[str, list[Tensor]]:
    """{"100": `draws` sets of 100 of the `training` stacks, ..., "all": one of them all}."""
    orders = [
        torch.randperm(training, generator=keyed("cpu", Stream.PROBE_LABELS, seed, draw))
        for draw in range(draws)
    ]
    sets = {
        f"{count:,}": [order[:count] for order in (orders if count < REPEATED else orders[:1])]
        for count in COUNTS
        if count < training
    }
    return sets | {ALL: [torch.arange(training)]}


def curves(
    encoder: Encoder,
    splits: Splits,
    of_bytes: list[int],
    score: Score,
    *,
    norm: FeatureNormKind,
    draws: int,
    seed: int,
) -> tuple[list[list], list[list]]:
    """Rows of the last block, by number of labels, and of every block, for BLOCK_LABELS alone.

    (labels, stacks, draws, R2 of each of READ_OUTS, std over draws of each; the attentive one of
    all labels alone: it learns little from fewer, and each training takes seconds), and
    (block, labels, stacks, draws, R2 of each of LINEAR, std of each), the latter where there are
    blocks. An encoder without tokens has one read-out, which stands for each.
    """
    sets = label_sets(len(splits.training.at), seed, draws)
    truth = [split.ram[:, of_bytes].to(split.summary.device) for split in splits]
    if not splits.test.mean_token.shape[1]:
        only = by_labels(_without_tokens(encoder, splits, norm), truth, sets, score)
        return _rows(sets, dict.fromkeys(READ_OUTS, only)), []
    blocks = read_outs(encoder, splits, norm)
    few = {name: drawn for name, drawn in sets.items() if name in BLOCK_LABELS}
    by_block = []
    for block, of_splits in enumerate(blocks):
        asked = sets if block == len(blocks) - 1 else few
        scores: Scores = {
            kind: by_labels([of.linear[kind] for of in of_splits], truth, asked, score)
            for kind in LINEAR
        }
        by_block += [[block, *row] for row in _rows(few, scores)]
    tokens = [of.tokens for of in of_splits]
    whole = {ALL: sets[ALL]}
    scores["attention"] = by_labels(tokens, truth, whole, score, partial(attentive, seed=seed))
    return _rows(sets, scores), by_block if len(blocks) > 1 else []


def _without_tokens(encoder: Encoder, splits: Splits, norm: FeatureNormKind) -> list[Tensor]:
    """The summaries of each split, normed unless they are principal components.

    Sizes of these say what is loud and what is noise: with 100 labels of Pong, pixels have an R2 of
    0.67 so, of 0.38 standardised.
    """
    every = [split.summary for split in splits]
    if isinstance(encoder, Pixels):
        return every
    fitted = fitted_norm("cls", norm, Features(every[0], every[0][:, None]))
    return [fitted(of) for of in every]


def by_labels(
    features: list[Tensor],
    truth: list[Tensor],
    sets: dict[str, list[Tensor]],
    score: Score,
    predict: Predict = linear,
) -> dict[str, list[float]]:
    """The score of each draw of each of the `sets`.

    Args:
        features: (n, F) of the training, validation and test split; tokens (n, N, D) for an
            attentive read-out.
        truth: (n, V) labels of each.
        sets: of training stacks.
        score: of the predictions for the test split.
        predict: learns from labelled stacks, and says what the features of others tell.
    """
    validation = Fit(features[1], truth[1])
    return {
        name: [
            score(predict(Fit(features[0][some], truth[0][some]), validation, features[2], draw))
            for draw, some in enumerate(drawn)
        ]
        for name, drawn in sets.items()
    }


def _rows(sets: dict[str, list[Tensor]], scores: Scores) -> list[list]:
    """(labels, stacks, draws, R2 of each read-out that there is, std over draws of each)."""
    every = scores.values()
    return [
        [name, len(drawn[0]), len(drawn)]
        + [fmean(of[name]) if name in of else None for of in every]
        + [pstdev(of[name]) if len(of.get(name, [])) > 1 else None for of in every]
        for name, drawn in sets.items()
    ]
