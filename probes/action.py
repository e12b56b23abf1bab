"""Action: whether the features tell what the recorded agent did."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fovea import by_episode
from fovea.figures import Comparison, Verdict
from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes.features import NotMeasured, Split, Splits, episodes, of_each
from fovea.probes.linear import Axes, Fit
from fovea.probes.softmax import RATE, softmax_head
from fovea.probes.state import weighted_f1
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Action: what the recorded agent did"
ABOUT = (
    "The action on a screen of the stack, read by a linear softmax from frozen features (summary "
    "and mean token), on held-out episodes. At the newest screen it is what the agent is about to "
    "do: in recordings of a random policy nothing can tell it, and every encoder is near chance. "
    "At the oldest it is what the agent did some steps ago, and later screens show what came of it "
    "(the probe of TOV-VICReg's authors, arXiv 2209.10901, has its labels there). F1 is weighted "
    "by how often an action is taken, or the plain mean over actions (macro). Majority always "
    "predicts the most frequent action."
)
ORDER = 11
MEASURES = {"weighted_f1": "Weighted F1", "macro_f1": "Macro F1", "accuracy": "Accuracy"}
FIGURES = [
    Comparison(table="actions", along="screen", choice="game", measures=MEASURES, best=True, high=1)
]
VERDICT = Verdict(
    table="actions",
    measure="weighted_f1",
    where={"screen": "newest"},
    references=["random", "pixels", "majority"],
    sentence="weighted F1 of the recorded agent's action at the newest screen, on held-out "
    "episodes, mean of {games}",
)


def probe(
    encoder: Encoder,
    games: dict[str, Splits],
    *,
    patience: int = 10,
    rate: float = RATE,
    seed: int = 0,
) -> Measured:
    """Weighted and macro F1 and accuracy of the action at the newest and at the oldest screen.

    Linear softmaxes in the principal axes of standardised features, trained to convergence and
    chosen by validation episodes (see `softmax`), which learn at `rate` and stop after `patience`
    epochs without progress; `seed` is that of their batches. Zhang et al. (2022, arXiv 2208.12345)
    have a focal loss and a fixed number of epochs; the authors of TOV-VICReg have a fixed learning
    rate for features of any scale. So the numbers are not to be compared with theirs.
    """
    asked = screens(encoder.stack)
    found, left_out = of_each(
        games,
        "reading actions",
        lambda _, of: {
            name: measure(of, back, patience=patience, rate=rate, seed=seed)
            for name, back in asked.items()
        },
    )
    every = [(game, name, of) for game, by in found.items() for name, of in by.items()]
    table = Table(
        name="actions",
        title="Actions",
        columns=["game", "screen", *MEASURES],
        rows=[[game, name, *of[0]] for game, name, of in every],
        note="The screen of the stack on which the action was taken.",
    )
    parts = by_episode.stacked([of[1] for _, _, of in every])
    return Measured([table], {"actions/classes": parts}, left_out)


def screens(stack: int) -> dict[str, int]:
    """{which screen of a stack: how many agent steps it lies before the newest}."""
    return {"newest": 0} | ({"oldest": stack - 1} if stack > 1 else {})


def measure(
    splits: Splits, back: int, *, patience: int = 10, rate: float = RATE, seed: int = 0
) -> tuple[tuple[float, float, float], np.ndarray]:
    """Weighted F1, macro F1 and accuracy of the action `back` steps before the newest screen.

    And their parts by episode (see `fovea.by_episode.classes`). The test split is looked at only
    after the head is fixed.

    Raises NotMeasured where training has one action alone.
    """
    features = [split.summary_and_mean for split in splits]
    truth = [actions(split, back) for split in splits]
    if len(truth[0].unique()) == 1:
        raise NotMeasured(f"its training episodes have action {int(truth[0][0])} alone")
    axes = Axes.of(features[0])
    if axes.variances.any():
        fits = [Fit(axes.whiten(x), y) for x, y in zip(features, truth, strict=True)]
        head = softmax_head(fits[0], fits[1], patience=patience, rate=rate, seed=seed)
        predicted = head.predict(fits[2].features)
    else:  # where actions are about as frequent, a head stops before it knows the most frequent
        predicted = torch.full_like(truth[2], int(truth[0].bincount().argmax()))
    scores = (
        weighted_f1(truth[2], predicted),
        macro_f1(truth[2], predicted),
        float((truth[2] == predicted).double().mean()),
    )
    count = 1 + max(int(of.max()) for of in truth)
    episode = episodes(splits.test)
    return scores, by_episode.classes(episode, truth[2].cpu(), predicted.cpu(), count)


def actions(split: Split, back: int) -> Tensor:
    """(n,) int64: the action on the screen `back` steps before the newest of each stack."""
    return split.frames.labels["action"][split.at - back].to(split.summary.device)


def macro_f1(truth: Tensor, predicted: Tensor) -> float:
    """The mean of the F1 of all actions in either (scikit-learn's average="macro")."""
    both = torch.cat([truth, predicted]).unique()
    is_true, is_predicted = truth[:, None] == both, predicted[:, None] == both
    hits = (is_true & is_predicted).sum(0).double()
    return float((2 * hits / (is_true.sum(0) + is_predicted.sum(0))).mean())
