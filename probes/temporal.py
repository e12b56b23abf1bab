"""Time: whether the features tell in which order screens came, and how far apart they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from fovea import by_episode
from fovea.atari.frames import Frames
from fovea.figures import Comparison, Verdict
from fovea.pretrain.encoders.encoder import Encoder
from fovea.probes.features import NotMeasured, Splits, again, of_each, stacks, summary_and_mean
from fovea.probes.linear import Axes, Fit, ridge
from fovea.probes.temporal_order import BACKWARD, FORWARD, Orders, trained
from fovea.results import Measured
from fovea.seeding import Stream, keyed
from fovea.tables import Table

GAP = 4  # agent steps between neighbours of three
DISTANCES = (1, 2, 4, 8, 16, 32)
SAMPLES = (800, 200, 400)  # of training, validation and test episodes
LOOKED = 3  # times as many moments are looked at, to find so many in which something moves
TITLE = "Time: in which order, and how far apart"
ABOUT = (
    f"Three stacks {GAP} agent steps apart, shown in one of their six orders: a head of one hidden "
    "layer says in which (chance 0.17), and whether forward or backward (chance 0.5), on held-out "
    "episodes; moments at which nothing moves are left out. Distance: R² of the logarithm of the "
    f"steps between two stacks (1 to {max(DISTANCES)}), by a ridge regression on how far they "
    "differ along each axis. Straightness: mean cosine between one change and the next "
    "(Hénaff et al. 2019): 1 is a straight path, -0.5 are unrelated points."
)
ORDER = 10
FIGURES = [
    Comparison(
        table="order",
        along="task",
        choice="game",
        measures={"accuracy": "Accuracy, of the order"},
        best=True,
        low=0,
        high=1,
    ),
    Comparison(
        table="time",
        along="game",
        choice="features",
        measures={"r2": "R², of the distance in time", "straightness": "Straightness, mean cosine"},
        averaged=False,
    ),
]
VERDICT = Verdict(
    table="order",
    measure="accuracy",
    where={"task": "six orders"},
    references=["random", "pixels"],
    sentence="accuracy of the order of three stacks on held-out episodes (chance 0.17), mean of "
    "{games}",
)
TASKS = ("six orders", "forward or backward")


class Moments(NamedTuple):
    """Stacks of some episodes, `GAP` steps apart, and one some distance after the middle one."""

    episode: Tensor
    """(n,) int64."""
    three: Tensor
    """(n, 3, F) float32 features, the earliest first."""
    later: Tensor
    """(n, F) float32."""
    distance: Tensor
    """(n,) int64 of DISTANCES: agent steps from the middle one of three to `later`."""


def probe(encoder: Encoder, games: dict[str, Splits], *, seed: int = 0) -> Measured:
    """Accuracy of the order, R2 of the distance in time, and straightness, game by game.

    Stacks are drawn anew, by `seed`, from the training, validation and test episodes. A game is
    left out whose episodes are too short, or in which nothing moves.

    Raises NotMeasured where all games are left out.
    """
    of_game = again(encoder, games)

    def measured(game: str, splits: Splits) -> tuple[list[np.ndarray], np.ndarray, float]:
        own = of_game(game)
        every = [
            moments(own, split.frames, count, keyed("cpu", Stream.PROBE_TRIPLES, seed, which))
            for which, (split, count) in enumerate(zip(splits, SAMPLES, strict=True))
        ]
        training, validation, test = every
        return (
            order(training, validation, test, seed),
            distance(training, validation, test),
            straightness(test.three),
        )

    found, left_out = of_each(games, "reading time", measured)
    orders = [
        (game, task, of)
        for game, (by_task, _, _) in found.items()
        for task, of in zip(TASKS, by_task, strict=True)
    ]
    tables = [
        Table(
            name="order",
            title="Order",
            columns=["game", "task", "accuracy"],
            rows=[
                [game, task, *by_episode.whole(by_episode.accuracy, of)]
                for game, task, of in orders
            ],
        ),
        Table(
            name="time",
            title="Distance and straightness",
            columns=["game", "features", "r2", "straightness"],
            rows=[
                [
                    game,
                    "summary and mean token",
                    *by_episode.whole(by_episode.r2, of),
                    straight,
                ]
                for game, (_, of, straight) in found.items()
            ],
            note=f"Straightness is of changes over {GAP} agent steps.",
        ),
    ]
    arrays = {
        "order/classes": by_episode.stacked([of for _, _, of in orders]),
        "time/errors": by_episode.stacked([of for _, of, _ in found.values()]),
    }
    return Measured(tables, arrays, left_out)


def moments(encoder: Encoder, frames: Frames, count: int, generator: torch.Generator) -> Moments:
    """`count` of them, spread over the places at which something moves."""
    at = frames.starts(encoder.stack, (-GAP, 0, max(GAP, *DISTANCES)))
    at = at[torch.randperm(len(at), generator=generator)][: LOOKED * count]
    before, now, after = (frames.screens[at + step].flatten(1) for step in (-GAP, 0, GAP))
    moves = (before != now).any(1) & (now != after).any(1)
    at = at[moves][:count].sort().values
    if len(at) < 2:
        raise NotMeasured("its episodes are too short, or nothing moves in them")
    distance = torch.tensor(DISTANCES)[torch.arange(len(at)) % len(DISTANCES)]
    places = torch.stack([at - GAP, at, at + GAP, at + distance], dim=1)
    features = summary_and_mean(encoder, stacks(encoder, frames, places.flatten()))
    features = features.unflatten(0, (-1, 4))
    return Moments(frames.episode[at].cpu(), features[:, :3], features[:, 3], distance)


def order(training: Moments, validation: Moments, test: Moments, seed: int) -> list[np.ndarray]:
    """The parts of accuracy by episode: of all six orders, and of forward against backward.

    Every test moment is shown in each of the orders that are asked for.
    """
    head = trained(Orders.of(training.three), training.three, validation.three, seed)
    logits = head.logits(test.three)  # (n, orders, which it is said to be)
    parts = []
    for asked in (range(6), (FORWARD, BACKWARD)):
        shown = torch.arange(len(asked)).expand(len(logits), -1)
        said = logits[:, list(asked)][:, :, list(asked)].argmax(2).cpu()
        episode = test.episode[:, None].expand_as(shown)
        parts.append(
            by_episode.classes(episode.flatten(), shown.flatten(), said.flatten(), len(asked))
        )
    return parts


def distance(training: Moments, validation: Moments, test: Moments) -> np.ndarray:
    """(1, E, 4) the parts of R2 of the logarithm of the distance."""
    whole = Axes.of(training.three.flatten(0, 1))
    fits = [
        Fit(
            (whole.whiten(of.three[:, 1]) - whole.whiten(of.later)).abs(),
            of.distance.double().log2()[:, None].to(of.three.device),
        )
        for of in (training, validation, test)
    ]
    predicted = ridge(Axes.of(fits[0].features), fits[0], fits[1], fits[2].features)
    return by_episode.errors(test.episode, fits[2].labels.cpu(), predicted.cpu())


def straightness(three: Tensor) -> float:
    """Mean cosine between the two changes of (n, 3, F); NaN where nothing changes."""
    change = three.double().diff(dim=1)
    moved = change.norm(dim=2).gt(0).all(1)
    return float(cosine_similarity(change[moved, 0], change[moved, 1]).mean())
