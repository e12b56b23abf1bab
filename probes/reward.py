"""Reward: whether the features tell that the game gives points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fovea import by_episode
from fovea.figures import Comparison, Verdict
from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes.features import NotMeasured, Split, Splits, episodes, of_each
from fovea.probes.linear import Axes, Fit, logistic
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Reward: whether the game gives points"
ABOUT = (
    "Whether a step brings a reward (of either sign), read by a logistic regression from frozen "
    "features (summary and mean token), on held-out episodes. The next step is the one that is "
    "taken on the newest screen, as Zhang et al. (2022, arXiv 2208.12345) have it; the last one "
    "led to that screen, which may show what it brought. F1 is of the steps with a reward, above a "
    "threshold that is best on validation episodes; AUROC needs none: 0.5 is chance, 1 perfect."
)
ORDER = 12
MEASURES = {"f1": "F1, of rewarded steps", "auroc": "AUROC, 0.5 is chance"}
FIGURES = [
    Comparison(table="rewards", along="step", choice="game", measures=MEASURES, best=True, high=1)
]
VERDICT = Verdict(
    table="rewards",
    measure="f1",
    where={"step": "next"},
    references=["random", "pixels", "majority"],
    sentence="F1 of whether the next step brings a reward, on held-out episodes, mean of {games}",
)
STEPS = {"next": 0, "last": 1}
"""Which step, and how far before the newest screen it was taken."""


def probe(encoder: Encoder, games: dict[str, Splits]) -> Measured:
    """F1 and AUROC of whether the next and the last step bring a reward, game by game.

    A game whose training or test episodes have none is left out. An encoder of single screens is
    asked for the next step alone, since the one before may belong to another episode.

    Raises NotMeasured where all games are left out.
    """
    steps = STEPS if encoder.stack > 1 else {"next": 0}
    found, left_out = of_each(
        games, "reading rewards", lambda _, of: {s: measure(of, back) for s, back in steps.items()}
    )
    every = [(game, step, row) for game, of in found.items() for step, row in of.items()]
    table = Table(
        name="rewards",
        title="Rewards",
        columns=["game", "step", *MEASURES, "share"],
        rows=[[game, step, *scores] for game, step, (scores, _, _) in every],
        note="Share: of the test screens whose step brings a reward.",
    )
    arrays = {
        "rewards/positives": by_episode.stacked([of for _, _, (_, of, _) in every]),
        "rewards/pairs": by_episode.stacked([of for _, _, (_, _, of) in every]),
    }
    return Measured([table], arrays, left_out)


def measure(splits: Splits, back: int) -> tuple[list[float], np.ndarray, np.ndarray]:
    """F1, AUROC and the share of rewarded steps; and the parts of the first two by episode.

    Raises NotMeasured where training or test steps are all alike.
    """
    truth = [rewarded(split, back) for split in splits]
    for name, labels in zip(Splits._fields, truth, strict=True):
        if labels.all() or not labels.any():
            which = "no" if not labels.any() else "each"
            raise NotMeasured(f"{which} step of its {name} episodes brings a reward")
    features = [split.summary_and_mean for split in splits]
    fits = [Fit(x, y) for x, y in zip(features, truth, strict=True)]
    axes = Axes.of(features[0])
    odds = logistic(axes, fits[0], fits[1], torch.cat(features[1:]))
    held_out, test = odds.split([len(truth[1]), len(truth[2])])
    claimed = test >= best_threshold(truth[1], held_out)
    episode, labels = episodes(splits.test), truth[2].cpu()
    positives = by_episode.positives(episode, labels, claimed.cpu())
    pairs = by_episode.pairs(episode, labels, test.cpu())
    (f1,) = by_episode.whole(by_episode.f1, positives)
    (auroc,) = by_episode.whole(by_episode.auroc, pairs)
    return [f1, auroc, float(labels.double().mean())], positives, pairs


def rewarded(split: Split, back: int) -> Tensor:
    """(n,) bool: whether the step taken `back` steps before the newest screen brought a reward."""
    return (split.frames.labels["reward"][split.at - back] != 0).to(split.summary.device)


def best_threshold(truth: Tensor, score: Tensor) -> float:
    """Of all scores the one at or above which to claim a positive gives the largest F1."""
    order = score.argsort(descending=True, stable=True)
    hits = truth[order].cumsum(0).double()
    claimed = torch.arange(1, len(order) + 1, device=score.device)
    f1 = 2 * hits / (truth.sum() + claimed)
    # Equal scores are claimed together: only the last of them is a threshold.
    ends = torch.ones_like(truth)
    ends[:-1] = score[order][1:] != score[order][:-1]
    return float(score[order][torch.where(ends, f1, -1).argmax()])
