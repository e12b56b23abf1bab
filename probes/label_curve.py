"""How much of the state can be read with how many labelled screens, of what, and after which block.

Screens without labels are plentiful, labels may be few: features are standardised by all training
screens, and a ridge regression then learns from some labelled ones. These are spread over the
training episodes, and the smaller of two sets is a part of the larger.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, pstdev

import torch
from torch import Tensor

from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes.blocks import READ_OUTS, read_outs
from fovea.probes.features import Splits
from fovea.probes.linear import RIDGES, Axes, Fit, ridge
from fovea.probes.references import Pixels
from fovea.seeding import Stream, keyed

COUNTS = (100, 300, 1000, 3000)
REPEATED = 1000  # sets of fewer labels are drawn several times
ALL = "all"
BLOCK_LABELS = ("300", ALL)  # at which every block is read; the last one at all counts
PENALTIES = (
    *RIDGES,
    *(10 ** (power / 2) for power in range(5, 11)),
)  # with few labels, larger ones

Score = Callable[[Tensor], float]
"""What predictions (n, V) for the test split are worth."""


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
    encoder: Encoder, splits: Splits, of_bytes: list[int], score: Score, *, draws: int, seed: int
) -> list[list]:
    """Rows (block, labels, stacks, draws, R2 of each of READ_OUTS, std over draws of each).

    An encoder without tokens has one read-out, which stands for each of them; one without blocks
    has one block, the last. Blocks before that have rows for BLOCK_LABELS alone.
    """
    sets = label_sets(len(splits.training.at), seed, draws)
    truth = [split.ram[:, of_bytes].to(split.summary.device) for split in splits]
    if not splits.test.mean_token.shape[1]:
        features = [split.summary for split in splits]
        components = isinstance(encoder, Pixels)
        only = by_labels(features, truth, sets, score, components=components)
        return _rows(0, sets, dict.fromkeys(READ_OUTS, only))
    blocks = read_outs(encoder, splits)
    rows = []
    for block, of_block in enumerate(blocks):
        asked = {k: v for k, v in sets.items() if block == len(blocks) - 1 or k in BLOCK_LABELS}
        scores = {
            name: by_labels(
                [getattr(of, name) for of in of_block],
                truth,
                asked,
                score,
                components=name == "tokens",
            )
            for name in READ_OUTS
        }
        rows += _rows(block, asked, scores)
    return rows


def by_labels(
    features: list[Tensor],
    truth: list[Tensor],
    sets: dict[str, list[Tensor]],
    score: Score,
    *,
    components: bool,
) -> dict[str, list[float]]:
    """The score of each draw of each of the `sets`.

    Args:
        features: (n, D) of the training, validation and test split.
        truth: (n, V) labels of each.
        sets: of training stacks.
        score: of the predictions for the test split.
        components: whether they are principal components, whose sizes say what is loud and what is
            noise: with 100 labels of Pong, pixels have an R2 of 0.67 so, of 0.38 standardised.
    """
    axes = (Axes.plain if components else Axes.of)(features[0])
    x = [axes.project(of) for of in features]
    scores: dict[str, list[float]] = {}
    for name, drawn in sets.items():
        scores[name] = []
        for some in drawn:
            if name == ALL:
                fits = [Fit(of, labels) for of, labels in zip(features, truth, strict=True)]
                predicted = ridge(axes, fits[0], fits[1], features[2])
            else:
                labelled = Fit(x[0][some], truth[0][some])
                own = Axes.plain(labelled.features)
                predicted = ridge(own, labelled, Fit(x[1], truth[1]), x[2], PENALTIES)
            scores[name].append(score(predicted))
    return scores


def _rows(
    block: int, sets: dict[str, list[Tensor]], scores: dict[str, dict[str, list[float]]]
) -> list[list]:
    every = [scores[name] for name in READ_OUTS]
    return [
        [block, name, len(drawn[0]), len(drawn)]
        + [fmean(of[name]) for of in every]
        + [pstdev(of[name]) if len(drawn) > 1 else None for of in every]
        for name, drawn in sets.items()
    ]
