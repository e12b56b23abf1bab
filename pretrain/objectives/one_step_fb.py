"""One-step FB (Zheng et al. 2026, arXiv 2602.11399): where does the recorded policy lead?"""

from __future__ import annotations

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fovea.atari.games import ACTIONS, GAMES
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.forward_backward import fb_loss, layers, orthonormal_loss
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Draws, Stream, seeded


class OneStepFB(Objective):
    """Forward and backward features of the successor measure of the policy that was recorded.

    The state (see `Objective.state`) is centred per game (see `terms.centering`), and steps are
    compared within their game: between games a measure is 0, which the game alone would tell.

    Args:
        dim: d, numbers of the features.
        width: of the hidden layers of both.
        discount: of an agent step.
        orthonormal: coefficient of the term that keeps backward features apart.
        embedding: width of an action; the same index in two games is two actions.
        momentum: of the teacher.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    offsets = (0, 1)
    labels = ("action", "game")

    def __init__(
        self,
        dim: PositiveInt = 50,
        width: PositiveInt = 256,
        discount: ClosedUnitInterval = 0.99,
        orthonormal: NonNegativeFloat = 1.0,
        embedding: PositiveInt = 32,
        momentum: ClosedUnitInterval = 0.995,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.discount, self.orthonormal, self.momentum = discount, orthonormal, momentum
        with seeded(Stream.OBJECTIVE_HEAD, self.seed):
            self.maps = ForwardBackward(self.state_dim, embedding, width, dim)
        self.teacher, self.teacher_maps = make_teacher(self.encoder), make_teacher(self.maps)

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """Two (B, stack, H, W) uint8; the actions of both (B, 2), and the games (B,)."""
        return *windows.unbind(1), action, game[:, 0]

    def losses(self, now: Tensor, after: Tensor, action: Tensor, game: Tensor) -> dict[str, Tensor]:
        (student,) = self.encode(now)
        states = self.encode(now, after, by=self.teacher)
        action, game = self.gather(action, game)
        state = center_per_game(self.state(student), game)
        target, following = (center_per_game(self.state(each), game) for each in states)
        number = game[:, None] * ACTIONS + action
        backward, alike = self.maps.backward_of(state), game[:, None] == game
        loss = fb_loss(
            self.maps(state, number[:, 0]),
            backward,
            self.teacher_maps(following, number[:, 1]),
            self.teacher_maps.backward_of(target),
            torch.full(game.shape, self.discount, device=game.device),
            self.discount,
            alike,
        )
        return {
            "measure": loss,
            "orthonormal": self.orthonormal * orthonormal_loss(backward, alike),
        }

    def after_optimizer_step(self) -> None:
        ema_update(self.teacher, self.encoder, self.momentum)
        ema_update(self.teacher_maps, self.maps, self.momentum)


class ForwardBackward(nn.Module):
    """Two forward features F(s, a) and a backward feature B(s) of states (B, S)."""

    def __init__(self, state: int, embedding: int, width: int, dim: int):
        super().__init__()
        self.actions = nn.Embedding(len(GAMES) * ACTIONS, embedding)
        self.onward = nn.ModuleList(layers(state + embedding, width, dim) for _ in range(2))
        self.backward_of = layers(state, width, dim)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """(2, B, d), of actions (B,) int64."""
        both = torch.cat([state, self.actions(action)], dim=1)
        return torch.stack([each(both) for each in self.onward])
