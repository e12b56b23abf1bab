"""Value: whether the features tell how many points are to come."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fovea import by_episode
from fovea.atari.frames import Frames
from fovea.figures import Comparison, Verdict
from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes.features import NotMeasured, Split, Splits, episodes, of_each
from fovea.probes.linear import Axes, Fit, ridge
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Value: the return to come"
ABOUT = (
    "The discounted sum of the rewards that the recorded agent went on to get (each as -1, 0 or 1, "
    "as agents learn from them), read by a ridge regression from frozen features (summary and mean "
    "token), on held-out episodes. R² of 1 is perfect, 0 is no better than the mean. It is the "
    "value of the recorded policy: of random play there is less to be told than of good play."
)
ORDER = 13
MEASURES = {"r2": "R², of the return to come"}
FIGURES = [
    Comparison(
        table="returns",
        along="discount",
        choice="game",
        measures=MEASURES,
        best=True,
        low=-0.5,
        high=1,
    )
]
DISCOUNTS = {"0.9": 0.9, "0.99": 0.99}
VERDICT = Verdict(
    table="returns",
    measure="r2",
    where={"discount": "0.99"},
    references=["random", "pixels"],
    sentence="R² of the recorded agent's return to come (discount 0.99), on held-out episodes, "
    "mean of {games}",
)
NEVER = 10**6  # steps: until a recording ends, of an episode that ended by itself
UNKNOWN = 0.05  # the weight of the rewards after an end that is no terminal; more is left out


def probe(encoder: Encoder, games: dict[str, Splits]) -> Measured:
    """R2 of the return to come, for each of DISCOUNTS, game by game.

    Stacks whose episode goes on beyond what was recorded are left out where that would still weigh
    more than UNKNOWN. A game is left out where none remain, or where their returns are all alike.

    Raises NotMeasured where all games are left out.
    """
    found, left_out = of_each(
        games,
        "reading values",
        lambda _, of: {name: measure(of, discount) for name, discount in DISCOUNTS.items()},
    )
    every = [(game, name, of) for game, by in found.items() for name, of in by.items()]
    table = Table(
        name="returns",
        title="Returns to come",
        columns=["game", "discount", "r2", "screens"],
        rows=[
            [game, name, *by_episode.whole(by_episode.r2, of), int(of[..., 0].sum())]
            for game, name, of in every
        ],
        note="Screens: of the test episodes, without those whose return is not known.",
    )
    arrays = {"returns/errors": by_episode.stacked([of for _, _, of in every])}
    return Measured([table], arrays, left_out)


def measure(splits: Splits, discount: float) -> np.ndarray:
    """(1, E, 4) the parts of R2 by test episode, see `fovea.by_episode.errors`."""
    fits, kept = [], []
    for name, split in zip(Splits._fields, splits, strict=True):
        value, known = of_stacks(split, discount)
        if not known.any():
            raise NotMeasured(f"its {name} episodes end before their returns are known")
        if value[known].std(unbiased=False) == 0:
            raise NotMeasured(f"the returns of its {name} episodes are all alike")
        fits.append(Fit(split.summary_and_mean[known], value[known, None]))
        kept.append(known.cpu())
    axes = Axes.of(fits[0].features)
    predicted = ridge(axes, fits[0], fits[1], fits[2].features)
    episode = episodes(splits.test)[kept[2]]
    return by_episode.errors(episode, fits[2].labels.cpu(), predicted.cpu())


def of_stacks(split: Split, discount: float) -> tuple[Tensor, Tensor]:
    """(n,) float64 returns of the steps from the newest screen on, and (n,) whether known."""
    returns, left = to_go(split.frames, discount)
    known = discount ** left[split.at].double() <= UNKNOWN
    device = split.summary.device
    return returns[split.at].to(device), known.to(device)


def to_go(frames: Frames, discount: float) -> tuple[Tensor, Tensor]:
    """(N,) float64 discounted sums of the signs of rewards from each step to its episode's end.

    And (N,) int64 how many steps there are until a recording ends that the episode goes on after;
    of episodes with a terminal so many that nothing can come.
    """
    reward = frames.labels["reward"].sign().double().numpy(force=True)
    terminal = frames.labels["terminal"].numpy(force=True)
    episode = frames.episode.numpy(force=True)
    last = np.append(episode[1:] != episode[:-1], True)
    returns, left = np.zeros(len(reward)), np.zeros(len(reward), np.int64)
    following, steps = 0.0, 0
    for k in range(len(reward) - 1, -1, -1):
        if last[k]:
            following, steps = 0.0, NEVER if terminal[k] else 0
        following = reward[k] + discount * following
        steps += 1
        returns[k], left[k] = following, steps
    return torch.as_tensor(returns), torch.as_tensor(left)
