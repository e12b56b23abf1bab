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
Told = dict[str, dict[str, list[Tensor]]]
"""{read-out: {number of labels: the predictions (n, V) for the test split of each draw}}."""
Predictions = dict[tuple[int, str], Tensor]
"""{(block, read-out): predictions (n, V) for the test split, learned from all labels}."""


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
) -> tuple[list[list], list[list], Predictions]:
    """Rows of the last block, by number of labels, and of every block, for BLOCK_LABELS alone.

    And what is predicted from all labels.

    (labels, stacks, draws, R2 of each of READ_OUTS, std over draws of each; the attentive one of
    all labels alone: it learns little from fewer, and each training takes seconds), and
    (block, labels, stacks, draws, R2 of each of LINEAR, std of each), the latter where there are
    blocks. An encoder without tokens has one read-out, which stands for each.
    """
    sets = label_sets(len(splits.training.at), seed, draws)
    truth = [split.ram[:, of_bytes].to(split.summary.device) for split in splits]
    if not splits.test.mean_token.shape[1]:
        only = by_labels(_without_tokens(encoder, splits, norm), truth, sets)
        every: Told = dict.fromkeys(READ_OUTS, only)
        return _rows(sets, every, score), [], _of_all(0, every)
    blocks = read_outs(encoder, splits, norm)
    few = {name: drawn for name, drawn in sets.items() if name in BLOCK_LABELS}
    by_block, of_all = [], Predictions()
    for block, of_splits in enumerate(blocks):
        asked = sets if block == len(blocks) - 1 else few
        told: Told = {
            kind: by_labels([of.linear[kind] for of in of_splits], truth, asked) for kind in LINEAR
        }
        by_block += [[block, *row] for row in _rows(few, told, score)]
        of_all |= _of_all(block, told)
    tokens = [of.tokens for of in of_splits]
    told["attention"] = by_labels(tokens, truth, {ALL: sets[ALL]}, partial(attentive, seed=seed))
    of_all |= _of_all(block, told)
    return _rows(sets, told, score), by_block if len(blocks) > 1 else [], of_all


def _of_all(block: int, told: Told) -> Predictions:
    return {(block, kind): of[ALL][0] for kind, of in told.items()}


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
    predict: Predict = linear,
) -> dict[str, list[Tensor]]:
    """Predictions (n, V) for the test split of each draw of each of the `sets`.

    Args:
        features: (n, F) of the training, validation and test split; tokens (n, N, D) for an
            attentive read-out.
        truth: (n, V) labels of each.
        sets: of training stacks.
        predict: learns from labelled stacks, and says what the features of others tell.
    """
    validation = Fit(features[1], truth[1])
    return {
        name: [
            predict(Fit(features[0][some], truth[0][some]), validation, features[2], draw)
            for draw, some in enumerate(drawn)
        ]
        for name, drawn in sets.items()
    }


def _rows(sets: dict[str, list[Tensor]], told: Told, score: Score) -> list[list]:
    """(labels, stacks, draws, R2 of each read-out that there is, std over draws of each)."""
    every = [
        {name: [score(one) for one in of[name]] for name in sets if name in of}
        for of in told.values()
    ]
    return [
        [name, len(drawn[0]), len(drawn)]
        + [fmean(of[name]) if name in of else None for of in every]
        + [pstdev(of[name]) if len(of.get(name, [])) > 1 else None for of in every]
        for name, drawn in sets.items()
    ]
