"""Whether features, and the scores of an agent, follow what is changed on the screen."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fovea.agents.why import advantage
from fovea.atari.interventions import Edited, Moments, edited, moments
from fovea.atari.objects import boxes, covered
from fovea.atari.ram import Variable, varied
from fovea.figures import Comparison
from fovea.pretrain.encoders.encoder import Encoder, inference
from fovea.probes.attribution import median
from fovea.probes.features import (
    BATCH,
    NotMeasured,
    Split,
    Splits,
    evenly_spaced,
    stacks,
    summary_and_mean,
    with_progress,
)
from fovea.probes.linear import Axes, Fit, ridge
from fovea.probes.of_agents import agent_of
from fovea.probes.references import Blind, Pixels
from fovea.results import Measured
from fovea.tables import Table

TITLE = "Intervention"
ABOUT = (
    "Screens of the same moments, with one thing changed. By memory: a byte is held at another "
    "value, and the console renders what follows; shown is the share of screens that changed at "
    "all (a game may write the byte anew before it draws). Pasted: an object whose place is known "
    "is painted over by the median screen. Change: how far summary and mean token move, over the "
    "distance of two moments drawn at random. Follows: a linear read-out of the byte, trained on "
    "recordings as they are, moves by this share of how far the byte is moved; 1 is all of it, 0 "
    "none. Of an agent, scores: how far its scores less their mean move, over the same of two "
    "moments; other action: the share of moments in which it would act otherwise."
)
ORDER = 5
FIGURES = [
    Comparison(
        table="edits",
        along="edit",
        choice="game",
        averaged=False,
        measures={
            "follows": "Read-out moves by this share of the edit",
            "change": "Change of features, over that of two moments",
            "scores": "Change of an agent's scores, over that of two moments",
            "other_action": "Share of moments with another action",
        },
        about="A variable that can be read (probe state) and does not follow here is read from "
        "something else that goes with it.",
    )
]
NUMBERS = ["shown", "change", "follows", "scores", "other_action"]


def probe(
    encoder: Encoder, games: dict[str, Splits], *, edits: int = 16, seed: int = 0
) -> Measured:
    """`edits` moments for each variable of a game's memory that varies, and for each known object.

    Raises NotMeasured for references, and where the memory of none of the games is known.
    """
    if isinstance(encoder, Pixels | Blind):
        raise NotMeasured("it is a reference, which follows any pixel")
    rows: list[list] = []
    with inference(encoder):
        for game in with_progress(games, "intervening"):
            eyes = Eyes.of(encoder, games[game].test)
            rows += [[game, *row] for row in by_memory(eyes, game, games[game], edits, seed)]
            rows += [[game, *row] for row in pasted(eyes, game, games[game].test, edits)]
    if not rows:
        raise NotMeasured("the memory of these games is not described")
    note = "Only screens on which the edit shows count for what stands right of shown."
    return Measured([Table("edits", "Edits", ["game", "edit", "by", *NUMBERS], rows, note)])


class Eyes(NamedTuple):
    """What is compared of screens, and how far two moments of a game are apart in it."""

    encoder: Encoder
    scores: Callable[[Tensor], Tensor] | None
    typical: float
    typical_scores: float

    @staticmethod
    def of(encoder: Encoder, test: Split, most: int = 128) -> Eyes:
        """By stacks of the test split, at most `most`."""
        agent = agent_of(encoder)
        eyes = Eyes(encoder, advantage(agent) if agent else None, 1.0, 1.0)
        seen = stacks(encoder, test.frames, evenly_spaced(test.at, most))
        scores = eyes.score(seen)
        return eyes._replace(
            typical=apart(eyes.features(seen)),
            typical_scores=math.nan if scores is None else apart(scores),
        )

    def features(self, screens: Tensor) -> Tensor:
        """(n, F) float32: summary and mean token of uint8 screens, as the probe state reads."""
        return summary_and_mean(self.encoder, screens)

    def score(self, screens: Tensor) -> Tensor | None:
        """(n, actions) an agent's scores less their mean; None of an encoder alone."""
        if self.scores is None:
            return None
        return torch.cat([self.scores(some) for some in screens.split(BATCH)])

    def row(self, before: Tensor, after: Tensor, follows: float) -> list[float]:
        """change, follows, scores and other_action of pairs of screens; NaN of none."""
        if not len(before):
            return [math.nan] * 4
        moved = self.features(after) - self.features(before)
        change = ratio(float(moved.norm(dim=1).mean()), self.typical)
        was, then = self.score(before), self.score(after)
        if was is None or then is None:
            return [change, follows, math.nan, math.nan]
        scores = ratio(float((then - was).norm(dim=1).mean()), self.typical_scores)
        other = float((then.argmax(1) != was.argmax(1)).double().mean())
        return [change, follows, scores, other]


def by_memory(eyes: Eyes, game: str, splits: Splits, edits: int, seed: int) -> list[list]:
    """[variable, "memory", *NUMBERS] of each variable that varies."""
    known = varied(game, splits.training.ram.cpu().numpy())
    if not known:
        return []
    encoder = eyes.encoder
    addresses = tuple(variable.byte for variable in known)
    play, every = played(game, addresses, edits, encoder.stack, seed)
    at = next(encoder.parameters()).device
    before = torch.from_numpy(play.screens).to(at)
    whole = torch.cat([before, *(torch.from_numpy(edit.screens).to(at) for edit in every)])
    bytes_read = read(splits, known, eyes.features(whole)).unflatten(0, (-1, len(before))).cpu()
    rows = []
    for number, (variable, edit) in enumerate(zip(known, every, strict=True)):
        shown = torch.from_numpy(edit.shown)
        was, then = (ram[:, variable.byte].astype(np.int64) for ram in (play.ram, edit.ram))
        asked = torch.from_numpy(then - was)
        moved = (bytes_read[number + 1] - bytes_read[0])[shown, number]
        after = torch.from_numpy(edit.screens)[shown].to(at)
        numbers = eyes.row(before[shown.to(at)], after, slope(asked[shown].double(), moved))
        rows.append([variable.name, "memory", float(edit.shown.mean()), *numbers])
    return rows


@lru_cache(maxsize=8)
def played(
    game: str, addresses: tuple[int, ...], edits: int, stack: int, seed: int
) -> tuple[Moments, list[Edited]]:
    """The moments of a game and the edits of each byte: the same for all encoders."""
    play = moments(game, edits, stack, seed)
    return play, [edited(play, byte, seed) for byte in addresses]


def read(splits: Splits, known: list[Variable], features: Tensor) -> Tensor:
    """(n, V) float64: the bytes, read off features by ridge regressions on the recordings."""
    addresses = [variable.byte for variable in known]
    training, validation = (
        Fit(part.summary_and_mean, part.ram[:, addresses].to(part.summary.device))
        for part in (splits.training, splits.validation)
    )
    return ridge(Axes.of(training.features), training, validation, features)


def pasted(eyes: Eyes, game: str, test: Split, edits: int) -> list[list]:
    """[object, "pasted", *NUMBERS] of each object whose place is known, painted over."""
    at = evenly_spaced(test.at, edits)
    ages = torch.arange(eyes.encoder.stack).flip(0)  # oldest first, as in a stack
    memory = test.frames.labels["ram"][at[:, None] - ages]
    places = boxes(game, memory.flatten(0, 1).numpy())
    if not places:
        return []
    before, background = stacks(eyes.encoder, test.frames, at), median(eyes.encoder, test)
    rows = []
    for name, place in places.items():
        there = torch.from_numpy(covered(place)).unflatten(0, memory.shape[:2])
        gone = torch.where(there.to(before.device), background, before)
        shown = (gone != before).flatten(1).any(1)
        numbers = eyes.row(before[shown], gone[shown], math.nan)
        rows.append([f"{name} removed", "pasted", float(shown.double().mean()), *numbers])
    return rows


def apart(features: Tensor) -> float:
    """The mean distance of rows (n, F) from those half their number further on."""
    return float((features - features.roll(len(features) // 2, 0)).norm(dim=1).mean())


def slope(asked: Tensor, moved: Tensor) -> float:
    """The factor between what was asked for and what came, by least squares."""
    return ratio(float((asked * moved).sum()), float(asked.square().sum()))


def ratio(a: float, b: float) -> float:
    """a / b, NaN where b is 0."""
    return a / b if b else math.nan
