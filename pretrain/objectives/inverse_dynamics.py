"""Inverse dynamics (Pathak et al. 2017, arXiv 1705.05363): which action led from now to next?

The accuracy has an upper bound below 1. Some actions have the same effect, such as firing when
there is nothing to fire; and with sticky actions the first frames of a step may repeat the action
of the step before, each with the probability that the recordings have (0.25).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.atari.games import ACTIONS, GAMES
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.cls_and_mean import cls_and_mean
from fovea.seeding import Draws, Stream, seeded


class InverseDynamics(Objective):
    """A head predicts from two neighbouring windows which of its game's actions was taken.

    It takes the first window's features and their change to the second's, both centred per game
    (see `terms.centering`): the effect of an action is small beside the differences of screens.

    Args:
        width: hidden width of the head.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    offsets = (0, 1)
    labels = ("action", "game")

    def __init__(
        self,
        width: int = 256,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: int = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        with seeded(Stream.OBJECTIVE_HEAD, self.seed):
            self.head = nn.Sequential(
                nn.Linear(2 * 2 * self.encoder.dim, width),
                nn.ReLU(),
                nn.Linear(width, len(GAMES) * ACTIONS),
            )

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """(B, stack, H, W) uint8 now and next, the action between them and the game (B,)."""
        return *windows.unbind(1), action[:, 0], game[:, 0]

    def losses(self, now: Tensor, later: Tensor, action: Tensor, game: Tensor) -> dict[str, Tensor]:
        now, later = (cls_and_mean(window) for window in self.encode(now, later))
        action, game = self.gather(action, game)
        change = center_per_game(torch.cat([now, later - now], dim=1), game)
        logits = logits_of_game(self.head(change), game).float()
        self.note(action_accuracy=(logits.argmax(1) == action).float().mean())
        return {"action": F.cross_entropy(logits, action)}


def logits_of_game(logits: Tensor, game: Tensor) -> Tensor:
    """(B, ACTIONS): of logits (B, games * ACTIONS), those of each sample's game (B,)."""
    return logits.unflatten(1, (-1, ACTIONS))[torch.arange(len(game), device=game.device), game]
