"""Robustness: what is left of the state's read-out when screens are corrupted."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fovea.figures import Comparison, Verdict
from fovea.pretrain.corruptions import CORRUPTIONS, corrupted
from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes.features import Splits, again, evenly_spaced, of_each, stacks, summary_and_mean
from fovea.probes.linear import Axes, Fit, ridge
from fovea.probes.state import by_category, mean, r2, scored_variables
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Robustness to corrupted screens"
ABOUT = (
    "A ridge regression reads the game's memory from frozen features (summary and mean token) of "
    "clean screens; it is then given corrupted ones of held-out episodes. Correlation of what is "
    "read with the truth says what is still told apart, though all of it may be shifted; R² also "
    "whether the values are right. Means over categories, where a variable below 0 counts as 0: "
    "nothing is read. Drops are from clean screens. Fovea's augmentations do the like of blur, "
    "brightness and cut-out, so that pretraining may have seen these; noise, few grey levels and "
    "coarse pixels it has not."
)
ORDER = 14
CLEAN = "clean"
MEASURES = {
    "correlation": "Correlation, with the state",
    "correlation_drop": "Correlation drop, from clean screens",
    "r2": "R², of the state",
    "r2_drop": "R² drop, from clean screens",
}
FIGURES = [
    Comparison(
        table="corruptions",
        along="corruption",
        choice="game",
        where={"severity": str(severity)},
        title=title,
        measures=MEASURES,
        low=-0.2,
        high=1,
    )
    for severity, title in ((1, "Slightly corrupted"), (2, "Strongly corrupted"))
]
VERDICT = Verdict(
    table="corruptions",
    measure="correlation_drop",
    where={"severity": "2", "corruption": "mean of unseen"},
    references=["random", "pixels"],
    sentence="drop of the correlation of what a linear read-out tells of the state under strong "
    "noise, few grey levels and coarse pixels, which pretraining has not seen, mean of {games} "
    "(less is better)",
)


def probe(encoder: Encoder, games: dict[str, Splits], *, stacks_measured: int = 400) -> Measured:
    """How well the state is read on clean and on corrupted screens.

    Of `stacks_measured` test stacks a game.

    Raises NotMeasured where no game has a table of variables.
    """
    of_game = again(encoder, games)
    found, left_out = of_each(
        games,
        "corrupting screens",
        lambda game, of: measure(of_game(game), game, of, stacks_measured),
    )
    table = Table(
        name="corruptions",
        title="Corruptions",
        columns=[
            "game",
            "corruption",
            "severity",
            "r2",
            "r2_drop",
            "correlation",
            "correlation_drop",
        ],
        rows=[[game, *row] for game, rows in found.items() for row in rows],
        note="Severities are those of `pretrain/corruptions.py`: "
        + "; ".join(f"{name} {of.strengths[0]:g}, {of.strengths[1]:g}" for name, of in KNOWN)
        + ".",
    )
    return Measured([table], left_out=left_out)


KNOWN = list(CORRUPTIONS.items())


def measure(encoder: Encoder, game: str, splits: Splits, most: int) -> list[list]:
    """Rows (corruption, severity, R2, drop, correlation, drop).

    Of each of CORRUPTIONS, and the means of both kinds.
    """
    asked = scored_variables(game, splits)
    of_bytes = [variable.byte for variable in asked]
    training, validation, test = splits
    axes = Axes.of(training.summary_and_mean)
    at = evenly_spaced(test.at, most)
    screens = stacks(encoder, test.frames, at)
    every = {
        (name, severity): corrupted(screens, name, severity)
        for severity in (1, 2)
        for name in CORRUPTIONS
    }
    features = [summary_and_mean(encoder, seen) for seen in (screens, *every.values())]
    device = features[0].device
    truth = test.frames.labels["ram"][at][:, of_bytes].to(device).long()
    known, held_out = (
        Fit(of.summary_and_mean, of.ram[:, of_bytes].to(device)) for of in (training, validation)
    )
    predicted = ridge(axes, known, held_out, torch.cat(features))

    def scores(of: Tensor) -> tuple[float, float]:
        """The means over categories of R2 and of correlations, each of at least 0."""
        each = [
            (max(r2(y, value), 0.0), max(correlation(y, value), 0.0))
            for y, value in zip(truth.T, of.T, strict=True)
        ]
        *_, (_, _, r2_of_all, correlation_of_all) = by_category(asked, each)
        return r2_of_all, correlation_of_all

    clean, *others = (scores(of) for of in predicted.split(len(at)))
    rows: list[list] = []
    for severity in (1, 2):
        of_it = {
            name: found
            for (name, strength), found in zip(every, others, strict=True)
            if strength == severity
        }
        for kind, title in ((True, "mean of seen"), (False, "mean of unseen")):
            both = [of_it[name] for name, one in KNOWN if one.augmented == kind]
            of_it[title] = (mean(a for a, _ in both), mean(b for _, b in both))
        rows += [
            [name, str(severity), a, clean[0] - a, b, clean[1] - b]
            for name, (a, b) in ({CLEAN: clean} | of_it).items()
        ]
    return rows


def correlation(truth: Tensor, predicted: Tensor) -> float:
    """Pearson's, of (n,) each; 0 where a prediction does not vary, NaN where the truth does not."""
    y, value = (of.double() - of.double().mean() for of in (truth, predicted))
    if not y.any():
        return math.nan
    size = value.norm()
    return float((y * value).sum() / (y.norm() * size)) if size > 1e-9 else 0.0
