"""LeWM (Maes et al. 2026, arXiv 2603.19312): the next embedding, held apart by SIGReg alone.

No teacher and no stopped gradient: predictions and targets both learn, and that all embeddings
become one is prevented by what they have to be distributed like.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fovea.atari.games import ACTIONS, GAMES
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.dynamics import Dynamics
from fovea.pretrain.terms.inverse_dynamics import InverseTask
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.sigreg import sigreg
from fovea.seeding import Draws, Stream, seeded


class LeWM(Objective):
    """Of a clip of windows predict the embedding of each from those before and the actions.

    The embedding is a projection of the state (see `Objective.state`). With single screens
    (`stack: 1`) what moves can only be told from the history, which the predictor sees and the
    encoder does not: stacked screens were found to push positions out of the embedding.

    Unlike the authors' this one learns several games at once: conditions are an action's of its
    game, and SIGReg compares each game with a Gaussian by itself.

    Args:
        clip: number of windows, of which all but the last are history.
        gap: agent steps from a window to the next; the predictor is given the action of each.
        sigreg_weight: coefficient of SIGReg; the paper's lambda.
        slices: random directions that SIGReg looks along, drawn anew each step.
        knots: points of SIGReg's integral.
        inverse_weight: coefficient of inverse dynamics on neighbouring embeddings; 0 leaves it out.
        embedding: width of an action; the same index in two games is two actions.
        projector: hidden width of the two projectors, of states and of predictions.
        out: width of the embeddings.
        depth: number of the predictor's blocks.
        heads: attention heads of a block.
        head_dim: width of a head.
        width: of the blocks.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    labels = ("action", "game")

    def __init__(
        self,
        clip: PositiveInt = 4,
        gap: PositiveInt = 4,
        sigreg_weight: NonNegativeFloat = 0.1,
        slices: PositiveInt = 1024,
        knots: PositiveInt = 17,
        inverse_weight: NonNegativeFloat = 0.1,
        embedding: PositiveInt = 32,
        projector: PositiveInt = 1024,
        out: PositiveInt = 192,
        depth: PositiveInt = 4,
        heads: PositiveInt = 6,
        head_dim: PositiveInt = 64,
        width: PositiveInt = 384,
        encoder: Shape = Shape(stack=1),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.gap, self.out, self.slices, self.knots = gap, out, slices, knots
        self.sigreg_weight, self.inverse_weight = sigreg_weight, inverse_weight
        self.offsets = tuple(range(gap * (clip - 1) + 1))  # every action on the way is asked for
        with seeded(Stream.PROJECTOR, self.seed):
            self.projector = _projector(self.state_dim, projector, out)
        with seeded(Stream.DYNAMICS, self.seed):
            self.actions = nn.Embedding(len(GAMES) * ACTIONS, embedding)
            self.dynamics = Dynamics(out, gap * embedding, clip - 1, depth, heads, head_dim, width)
            self.prediction_projector = _projector(out, projector, out)
        if inverse_weight:
            with seeded(Stream.INVERSE_HEAD, self.seed):
                self.inverse_task = InverseTask(out, gap)

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """Directions (D, slices), actions (B, T - 1, gap), game (B,) and the T windows of a clip.

        Windows are (B, stack, H, W) uint8.
        """
        directions = draws.common_normal(self.out, self.slices)
        action = action[:, :-1].unflatten(1, (-1, self.gap))
        return directions, action, game[:, 0], *windows[:, :: self.gap].unbind(1)

    def losses(
        self, directions: Tensor, action: Tensor, game: Tensor, *windows: Tensor
    ) -> dict[str, Tensor]:
        action, game = self.gather(action, game)
        states = torch.stack([self.state(one) for one in self.encode(*windows)], dim=1)
        embeddings = _each(self.projector, states)
        conditions = self.actions(game[:, None, None] * ACTIONS + action).flatten(2)
        prediction = self.dynamics(embeddings[:, :-1], conditions)
        prediction = _each(self.prediction_projector, prediction)
        regulariser = sigreg(embeddings.transpose(0, 1), directions, game, self.knots)
        losses = {
            "prediction": full_precision(F.mse_loss)(prediction, embeddings[:, 1:]),
            "sigreg": self.sigreg_weight * regulariser,
        }
        if self.inverse_weight:
            now, later = (x.flatten(0, 1) for x in (embeddings[:, :-1], embeddings[:, 1:]))
            pairs = action.shape[1]
            of_pair = game.repeat_interleave(pairs)
            loss, accuracy = self.inverse_task(now, later, action.flatten(0, 1), of_pair)
            losses["inverse"] = self.inverse_weight * loss
            self.note(action_accuracy=accuracy)
        return losses


def _projector(dim: int, width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim, width), nn.BatchNorm1d(width), nn.GELU(), nn.Linear(width, out)
    )


def _each(layers: nn.Module, x: Tensor) -> Tensor:
    """Layers for (B, D), on (B, T, D): all moments share the statistics of a batch norm."""
    return rearrange(layers(rearrange(x, "b t d -> (b t) d")), "(b t) d -> b t d", b=len(x))
