"""Robustness: what is left of the state's read-out when screens are corrupted."""

from __future__ import annotations

import torch

from fovea.figures import Comparison, Verdict
from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes.corruptions import CORRUPTIONS, corrupted
from fovea.probes.features import Splits, again, evenly_spaced, of_each, stacks, summary_and_mean
from fovea.probes.linear import Axes, Fit, ridge
from fovea.probes.state import by_category, r2, scored_variables
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Robustness to corrupted screens"
ABOUT = (
    "A ridge regression reads the game's memory from frozen features (summary and mean token) of "
    "clean screens; it is then given corrupted ones of held-out episodes. R² is the mean over "
    "categories, where a variable below 0 counts as 0: nothing is read. The drop is from clean "
    "screens. Fovea's augmentations do the like of blur, brightness and cut-out, so that "
    "pretraining may have seen these; noise, few grey levels and coarse pixels it has not."
)
ORDER = 11
CLEAN = "clean"
MEASURES = {"r2": "R², of the state", "drop": "Drop, of R² from clean screens"}
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
    measure="drop",
    where={"severity": "2", "corruption": "mean of unseen"},
    references=["random", "pixels"],
    sentence="drop of the state's R² under strong noise, few grey levels and coarse pixels, which "
    "pretraining has not seen, mean of {games} (less is better)",
)


def probe(encoder: Encoder, games: dict[str, Splits], *, stacks_measured: int = 400) -> Measured:
    """R2 of the state on clean and on corrupted screens, of `stacks_measured` test stacks a game.

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
        columns=["game", "corruption", "severity", *MEASURES],
        rows=[[game, *row] for game, rows in found.items() for row in rows],
        note="Severities are those of `probes/corruptions.py`: "
        + "; ".join(f"{name} {of.strengths[0]:g}, {of.strengths[1]:g}" for name, of in KNOWN)
        + ".",
    )
    return Measured([table], left_out=left_out)


KNOWN = list(CORRUPTIONS.items())


def measure(encoder: Encoder, game: str, splits: Splits, most: int) -> list[list]:
    """Rows (corruption, severity, R2, drop): each of CORRUPTIONS, and the means of both kinds."""
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

    def score(of: torch.Tensor) -> float:
        """The mean over categories of R2 that are at least 0."""
        scores = [(max(r2(y, value), 0.0), 0.0) for y, value in zip(truth.T, of.T, strict=True)]
        return by_category(asked, scores)[-1][2]

    clean, *others = (score(of) for of in predicted.split(len(at)))
    rows: list[list] = []
    for severity in (1, 2):
        of_it = {
            name: value
            for (name, strength), value in zip(every, others, strict=True)
            if strength == severity
        }
        means = {
            f"mean of {'seen' if kind else 'unseen'}": [
                of_it[name] for name, one in KNOWN if one.augmented == kind
            ]
            for kind in (True, False)
        }
        of_it |= {name: sum(of) / len(of) for name, of in means.items()}
        rows += [
            [name, str(severity), value, clean - value]
            for name, value in ({CLEAN: clean} | of_it).items()
        ]
    return rows
