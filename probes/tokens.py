"""Tokens: how much more of the state can be read off all tokens than off a pooled vector."""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.figures import Comparison
from fovea.pretrain.encoders.encoder import Encoder, inference
from fovea.pretrain.terms.principal import principal
from fovea.probes.features import (
    BATCH,
    NotMeasured,
    Split,
    Splits,
    stacks,
    with_progress,
)
from fovea.probes.linear import Axes, Fit, ridge
from fovea.probes.state import by_category, r2, scored_variables
from fovea.results import Measured
from fovea.seeding import Stream, seeded
from fovea.tables import Table

TITLE = "Tokens: what of the features to give to heads"
ABOUT = (
    "R² of the state as in the probe state, of ridge regressions on what an agent's heads may be "
    "given: the CLS token, the mean token, both, or all tokens side by side (as their principal "
    "components, at most 1024). Mean of categories, on held-out episodes; 1 is perfect."
)
ORDER = 2
FIGURES = [
    Comparison(
        table="r2",
        along="features",
        choice="game",
        measures={"r2": "R², higher is better"},
        best=True,
        low=-0.5,
        high=1.0,
    )
]
KEPT = 1024  # components; of regressions on more, the axes alone take minutes
LEAST = 1e-4  # deviation along a component, beside that of the first; the rest is rounding


def probe(encoder: Encoder, games: dict[str, Splits], *, seed: int = 0) -> Measured:
    """R2 of the state from each choice of features, by game.

    `seed` is that of the sketch of the components.

    Raises NotMeasured for an encoder without tokens, and where no game has a table of variables.
    """
    if not all(split.mean_token.shape[1] for splits in games.values() for split in splits):
        raise NotMeasured("it has no tokens")
    rows = []
    for game in with_progress(games, "reading tokens"):
        if asked := scored_variables(game, games[game]):
            of_bytes = [variable.byte for variable in asked]
            for choice, features in choices(encoder, games[game], seed).items():
                scores = measure(games[game], features, of_bytes)
                rows.append([game, choice, by_category(asked, scores)[-1][2]])
    if not rows:
        raise NotMeasured(f"no table names the memory of {', '.join(games)}")
    table = Table(
        name="r2",
        title="R² of the state",
        columns=["game", "features", "r2"],
        rows=rows,
        note="The names are the values of the agents' setting `features`.",
    )
    return Measured([table])


def choices(encoder: Encoder, splits: Splits, seed: int) -> dict[str, list[Tensor]]:
    """{value of the agents' setting `features`: features (n, F) of each split}."""
    every = [tokens(encoder, split) for split in splits]
    with seeded(Stream.PROBE_SKETCH, seed):
        centre, directions, std = principal(every[0], KEPT)
    directions = directions[:, std > LEAST * std[0]]
    return {
        "cls": [split.summary for split in splits],
        "mean": [split.mean_token for split in splits],
        "cls_and_mean": [split.summary_and_mean for split in splits],
        "tokens": [(features - centre) @ directions for features in every],
    }


def tokens(encoder: Encoder, split: Split) -> Tensor:
    """(n, N * D) float32 all tokens of each stack of the split, side by side."""
    with inference(encoder):
        return torch.cat(
            [
                encoder(stacks(encoder, split.frames, some)).tokens.flatten(1).float()
                for some in split.at.split(BATCH)
            ]
        )


def measure(splits: Splits, features: list[Tensor], of_bytes: list[int]) -> list[tuple]:
    """(R2, NaN) of each byte on the test split, as rows of scores are."""
    truth = [split.ram[:, of_bytes].to(split.summary.device) for split in splits]
    fits = [Fit(*pair) for pair in zip(features, truth, strict=True)]
    predictions = ridge(Axes.of(features[0]), fits[0], fits[1], features[2])
    return [
        (r2(y, value), float("nan")) for y, value in zip(truth[2].T, predictions.T, strict=True)
    ]
