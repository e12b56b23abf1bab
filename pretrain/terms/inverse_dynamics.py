"""Inverse dynamics: which actions led from one window of screens to a later one?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.atari.games import ACTIONS, GAMES
from fovea.pretrain.terms.centering import center_per_game


class InverseTask(nn.Sequential):
    """A head that names the actions between two states, each of a game's own actions.

    It takes the first state and the change to the second, both centred per game (see
    `terms.centering`): the effect of an action is small beside the differences of screens.

    Args:
        dim: S, width of a state.
        actions: K, number of actions between the two states, one an agent step.
        width: hidden width of the head.
    """

    def __init__(self, dim: int, actions: int = 1, width: int = 256):
        super().__init__(
            nn.Linear(2 * dim, width), nn.ReLU(), nn.Linear(width, actions * len(GAMES) * ACTIONS)
        )
        self.actions = actions

    def forward(
        self, now: Tensor, later: Tensor, action: Tensor, game: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The cross-entropy of the actions (B, K) between states (B, S), and their accuracy.

        Both are means over all actions; `game` (B,) int64.
        """
        change = center_per_game(torch.cat([now, later - now], dim=1), game)
        logits = super().forward(change).unflatten(1, (self.actions, -1)).float()
        logits = torch.stack([logits_of_game(one, game) for one in logits.unbind(1)], dim=1)
        accuracy = (logits.argmax(2) == action).float().mean()
        return F.cross_entropy(logits.flatten(0, 1), action.flatten()), accuracy


def logits_of_game(logits: Tensor, game: Tensor) -> Tensor:
    """(B, ACTIONS): of logits (B, games * ACTIONS), those of each sample's game (B,)."""
    return logits.unflatten(1, (-1, ACTIONS))[torch.arange(len(game), device=game.device), game]
