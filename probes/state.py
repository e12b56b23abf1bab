"""State: which of the console's variables can be read off the features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from fovea.atari.ram import CATEGORIES, MIN_ENTROPY, Variable, variables, varied
from fovea.command import UserError
from fovea.figures import Comparison, Gains, Verdict
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.feature_norm import FeatureNormKind
from fovea.probes.features import NotMeasured, Split, Splits, of_each
from fovea.probes.linear import VALUES, Axes, Fit, ridge
from fovea.probes.softmax import RATE, softmax_heads
from fovea.probes.state_curves import BLOCK_LABELS, curves
from fovea.probes.state_read_outs import KEPT, LINEAR, READ_OUTS
from fovea.probes.state_variables import VariableRows, variable_rows, variables_by
from fovea.results import Measured
from fovea.tables import Table

TITLE = "State: what can be read off the features"
ABOUT = (
    "Variables of the game's memory read by linear models from frozen features (summary and mean "
    "token), on held-out episodes. R² is of a ridge regression on the byte, F1 (weighted) of a "
    "256-way softmax trained to convergence, as AtariARI defines it; 1 is perfect, more is better. "
    "Majority always predicts the most frequent byte. Pixels is a PCA of a game's raw screens (256 "
    "numbers), pixels_pooled one of all games' (as many numbers as summary and mean token)."
)
ORDER = 1
BY_READ_OUT = {
    "cls": "CLS token, R²",
    "mean": "Mean token, R²",
    "cls_and_mean": "CLS and mean token, R²",
    "tokens": "All tokens, R²",
    "attention": "Attentive read-out, R²",
}
FIGURES = [
    Comparison(
        table="categories",
        along="category",
        choice="game",
        measures={"r2": "R², higher is better", "f1": "F1, higher is better"},
        best=True,
        low=-0.5,
        high=1.0,
    ),
    Comparison(
        table="labels",
        along="labels",
        choice="game",
        kind="lines",
        title="With few labels",
        about="R² (mean of categories) by the number of labelled training screens, of what may be "
        "given to heads. The attentive read-out, of all labels alone, learns where to look as "
        "that of agents does. A bar is a standard deviation over draws of screens. Pixels have one "
        "read-out, which stands in every figure.",
        measures=BY_READ_OUT,
        spreads={name: f"{name}_std" for name in READ_OUTS},
        low=-0.1,
        high=1.0,
    ),
    *(
        Comparison(
            table="blocks",
            along="block",
            choice="game",
            kind="lines",
            where={"labels": labels},
            title=f"By block, {labels} labels",
            about="R² after each block. Block 0 is the patch embedding; its CLS token saw nothing.",
            measures={name: BY_READ_OUT[name] for name in LINEAR},
            low=-0.1,
            high=1.0,
        )
        for labels in BLOCK_LABELS
    ),
    Gains(
        table="variables_by_block",
        measure="r2",
        row="variable",
        across=["read_out", "block"],
        title="Gained and lost, by block",
    ),
    Gains(
        table="variables_by_read_out",
        measure="r2",
        row="variable",
        across=["read_out"],
        title="Gained and lost, by read-out",
    ),
]
VERDICT = Verdict(
    table="categories",
    measure="r2",
    where={"category": "mean"},
    references=["random", "pixels", "pixels_pooled"],
    sentence="R² of a linear read-out of the game's memory on held-out episodes, mean of {games}, "
    "one training run each",
)


def probe(
    encoder: Encoder,
    games: dict[str, Splits],
    *,
    norm: FeatureNormKind = "standard",
    patience: int = 10,
    rate: float = RATE,
    draws: int = 5,
    seed: int = 0,
) -> Measured:
    """R2, weighted F1 and accuracy of each variable whose byte has an entropy above MIN_ENTROPY.

    And R2 by the number of labelled screens, by read-out and by block (see `state_curves`).

    Labels are the bytes at the newest screen of a stack. The score of a game is the mean over its
    categories of the mean in each; the overall score is the mean over games.

    Args:
        encoder: the encoder.
        games: what it sees of each game.
        norm: how features are normalised where R2 is by number of labels, as the agents' setting
            `features.norm` has it; elsewhere they are always standardised.
        patience: epochs without progress after which softmax heads stop.
        rate: at which they learn.
        draws: how often few labels are drawn.
        seed: of these draws, the heads' batches and the attentive read-out.

    Raises NotMeasured where no game has a table of variables, and UserError for an unknown norm.
    """
    if norm not in get_args(FeatureNormKind):
        raise UserError(f"unknown norm {norm!r}: take {', '.join(get_args(FeatureNormKind))}")

    def of_game(game: str, splits: Splits) -> GameState:
        asked = scored_variables(game, splits)
        scores = measure(splits, asked, patience=patience, rate=rate, seed=seed)
        of_bytes = [variable.byte for variable in asked]
        score = partial(game_score, splits.test, asked)
        rows, by_block, told = curves(
            encoder, splits, of_bytes, score, norm=norm, draws=draws, seed=seed
        )
        return GameState(
            [[game, v.name, v.category, *s] for v, s in zip(asked, scores, strict=True)],
            [[game, *row] for row in by_category(asked, scores)],
            [[game, *row] for row in rows],
            [[game, *row] for row in by_block],
            variable_rows(game, splits.test, asked, told),
        )

    found, left_out = of_each(games, "reading state", of_game)
    each, categories, by_labels, by_block, compared = zip(*found.values(), strict=True)
    of_variables = variables_by(compared)
    tables = [
        *_tables([*chain(*categories)], [*chain(*each)]),
        *_label_tables([*chain(*by_labels)], [*chain(*by_block)], norm),
        *of_variables.tables,
    ]
    return Measured(tables, of_variables.arrays, left_out)


class GameState(NamedTuple):
    """Rows of the tables, of one game."""

    variables: list[list]
    categories: list[list]
    labels: list[list]
    blocks: list[list]
    compared: VariableRows


def scored_variables(game: str, splits: Splits) -> list[Variable]:
    """The variables of a game whose bytes vary on all its screens.

    Raises NotMeasured where there are none.
    """
    ram = torch.cat([split.frames.labels["ram"] for split in splits])
    if not variables(game):
        raise NotMeasured(f"no table names the memory of {game}")
    if not ram.any():
        raise NotMeasured("its recordings hold no memory (RAM)")
    if not (asked := varied(game, ram)):
        raise NotMeasured(f"no variable of it has an entropy above {MIN_ENTROPY} nats")
    return asked


def measure(
    splits: Splits, asked: list[Variable], *, patience: int = 10, rate: float = RATE, seed: int = 0
) -> list[tuple[float, float, float]]:
    """R2, weighted F1 and accuracy of each variable on the test split; R2 of a constant is NaN.

    The test split is looked at only after both models are fixed.
    """
    of_bytes = [variable.byte for variable in asked]
    raw = [split.summary_and_mean for split in splits]
    truth = [split.ram[:, of_bytes].to(split.summary.device) for split in splits]
    axes = Axes.of(raw[0])
    white = [axes.whiten(features) for features in raw]
    fits = Fit(white[0], truth[0]), Fit(white[1], truth[1])
    heads = softmax_heads(*fits, patience=patience, rate=rate, seed=seed)
    predictions = [head.predict(white[2]) for head in heads]
    read = regressed(splits, asked, axes)
    return [
        (r2(y, value), weighted_f1(y, label), float((y == label).double().mean()))
        for y, value, label in zip(truth[2].T, read.T, predictions, strict=True)
    ]


def regressed(splits: Splits, asked: list[Variable], axes: Axes | None = None) -> Tensor:
    """(n, V) float64: what a ridge regression reads of the test split, summary and mean token.

    `axes` are those of the training split, found anew by default.
    """
    of_bytes = [variable.byte for variable in asked]
    training, validation, test = (split.summary_and_mean for split in splits)
    truth = [split.ram[:, of_bytes].to(training.device) for split in splits]
    fits = Fit(training, truth[0]), Fit(validation, truth[1])
    return ridge(axes or Axes.of(training), *fits, test)


def game_score(test: Split, asked: list[Variable], predicted: Tensor) -> float:
    """The mean over categories of the R2 of predictions (n, V) for the test split."""
    truth = test.ram[:, [variable.byte for variable in asked]].to(predicted.device)
    scores = [(r2(y, value), math.nan) for y, value in zip(truth.T, predicted.T, strict=True)]
    return by_category(asked, scores)[-1][2]


def r2(truth: Tensor, predicted: Tensor) -> float:
    """1 - SSE / SST about the mean of `truth`, not clipped; NaN where `truth` is constant."""
    y = truth.double()
    total = (y - y.mean()).square().sum()
    return float(1 - (y - predicted).square().sum() / total) if total > 0 else math.nan


def weighted_f1(truth: Tensor, predicted: Tensor) -> float:
    """F1 of each byte, weighted by how often it is true (scikit-learn's average="weighted")."""
    hits = torch.bincount(truth[truth == predicted], minlength=VALUES).double()
    true = torch.bincount(truth, minlength=VALUES).double()
    claimed = torch.bincount(predicted, minlength=VALUES).double()
    return float((true * 2 * hits / (true + claimed).clamp(min=1)).sum() / true.sum())


def by_category(asked: list[Variable], scores: list[tuple]) -> list[list]:
    """Rows (category, variables, r2, f1), the last of them their mean."""
    rows = []
    for category in CATEGORIES:
        of_it = [s for v, s in zip(asked, scores, strict=True) if v.category == category]
        if of_it:
            rows.append(
                [category, len(of_it), mean(s[0] for s in of_it), mean(s[1] for s in of_it)]
            )
    return [*rows, ["mean", len(asked), mean(row[2] for row in rows), mean(row[3] for row in rows)]]


def mean(values) -> float:
    """Of what is a number; NaN where nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _tables(categories: list[list], each: list[list]) -> list[Table]:
    overall = []
    for category in (*CATEGORIES, "mean"):
        rows = [row for row in categories if row[1] == category]
        if rows:
            scores = mean(row[3] for row in rows), mean(row[4] for row in rows)
            overall.append([category, len(rows), *scores])
    return [
        Table(
            name="categories",
            title="By category",
            columns=["game", "category", "variables", "r2", "f1"],
            rows=categories,
            note="The row mean is the mean over the categories of a game.",
        ),
        Table(
            name="overall",
            title="Mean over games",
            columns=["category", "games", "r2", "f1"],
            rows=overall,
            note="Each category over the games that have it.",
        ),
        Table(
            name="variables",
            title="Each variable",
            columns=["game", "variable", "category", "r2", "f1", "accuracy"],
            rows=each,
            note=f"Bytes with an entropy above {MIN_ENTROPY} nats. "
            "R² is left out where the byte is constant in the test episodes.",
        ),
    ]


def _label_tables(by_labels: list[list], by_block: list[list], norm: str) -> list[Table]:
    """R2 of the last block by number of labels, and of every block where there are any."""
    tables = [
        Table(
            name="labels",
            title="By number of labelled screens",
            columns=["game", *_label_columns(READ_OUTS)],
            rows=by_labels,
            note=f"R², mean of categories. Features go through the agents' norm: {norm}, fitted to "
            "all training screens. Penalties are chosen by all validation screens, whatever the "
            f"number of labels. All tokens are at most {KEPT} principal components, which keep "
            "their sizes, as do pixels'.",
        )
    ]
    if by_block:
        title, note = "By block", "Block 0 is the patch embedding; the last norm follows each."
        columns = ["game", "block", *_label_columns(LINEAR)]
        tables.append(Table("blocks", title, columns, by_block, note))
    return tables


def _label_columns(read_outs: Sequence[str]) -> list[str]:
    return ["labels", "stacks", "draws", *read_outs, *(f"{name}_std" for name in read_outs)]
