"""Why an agent acts as it does: the scores it chooses by, and where on the screen they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from fovea.agents.algorithms.base import Agent
from fovea.atari.film import SIDE
from fovea.pretrain.encoders.attribution import attribute, best

ROW = 36  # px at most; the height of a bar with its gap
LABEL, NUMBER = 124, 64  # px; left of the bars for names, right of them for numbers
PLAIN, TAKEN = (150, 150, 150), (60, 190, 250)  # bars, and that of the action taken; BGR


class Shown(NamedTuple):
    """How scores are shown."""

    title: str
    of: Callable[[np.ndarray], np.ndarray]
    """Scores to what is shown of them."""
    least: float
    """Where bars begin at the latest."""


SCORES = {
    "values": Shown("values Q of the actions", lambda scores: scores, np.inf),
    "log_probabilities": Shown("chances of the actions", np.exp, 0.0),
}
"""By what an agent's scores are."""


class Reasons(NamedTuple):
    """Why an agent took each of T actions."""

    scores: np.ndarray
    """(T, actions) float32, as shown: Q-values, or the chances of a policy."""
    taken: np.ndarray
    """(T,) int64."""
    maps: np.ndarray
    """(T, h, w) float32, at least 0: where what spoke for the action taken comes from."""
    names: Sequence[str]
    """Of the actions."""
    shown: Shown
    method: str
    """That the maps were made by."""


def reasons(
    agent: Agent, screens: np.ndarray, taken: Sequence[int], names: Sequence[str]
) -> Reasons:
    """Why `agent` took these actions on screens (T, stack, H, W) uint8.

    Asked about is the score of the action less the mean score of all: what any action would gain is
    no reason for this one. The background is the median of the screens.

    Args:
        agent: in eval mode.
        screens: what it saw.
        taken: T actions.
        names: of all actions.

    Raises UserError for an agent without a number for each action, and for an encoder in which no
    place of the screen can be told apart.
    """
    stacks = torch.from_numpy(screens)
    with torch.no_grad():
        scores = torch.cat([agent.action_scores(some).float().cpu() for some in stacks.split(64)])
    encoder = agent.acting_encoder
    maps = attribute(
        encoder,
        advantage(agent),
        stacks,
        torch.as_tensor(taken),
        background=stacks.median(dim=0).values,
    )
    shown = SCORES[agent.scores_are or "values"]
    return Reasons(
        shown.of(scores.numpy()), np.asarray(taken), maps.numpy(), names, shown, best(encoder)
    )


def advantage(agent: Agent) -> Callable[[Tensor], Tensor]:
    """From pixels to (B, actions): how much the score of each action is above the mean of all."""

    def outputs(pixels: Tensor) -> Tensor:
        scores = agent.action_scores(pixels)
        return scores - scores.mean(dim=1, keepdim=True)

    return outputs


def bars(why: Reasons, moment: int) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 in OpenCV's order of colours: a bar for each action.

    They lie between the least and the largest score of the whole film, chances from 0 on; that of
    the action taken is bright.
    """
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    least, most = min(float(why.scores.min()), why.shown.least), float(why.scores.max())
    height = min(ROW, SIDE // len(why.names))
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.42 if height > 20 else 0.34
    for row, (name, score) in enumerate(zip(why.names, why.scores[moment], strict=True)):
        colour = TAKEN if row == why.taken[moment] else PLAIN
        share = (float(score) - least) / max(most - least, 1e-12)
        top, base = row * height + 2, row * height + height // 2 + 5
        right = LABEL + max(1, round(share * (SIDE - LABEL - NUMBER)))
        cv2.rectangle(picture, (LABEL, top), (right, top + height - 5), colour, cv2.FILLED)
        cv2.putText(picture, name, (4, base), font, size, colour, 1, cv2.LINE_AA)
        text = f"{score:.3f}"
        cv2.putText(picture, text, (SIDE - NUMBER + 8, base), font, size, colour, 1, cv2.LINE_AA)
    return picture
