"""SPR (Schwarzer et al. 2021, arXiv 2007.05929): predict later features from now and actions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fovea.atari.games import ACTIONS, GAMES
from fovea.pretrain.augment import Chain, augment, check
from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.cls_and_mean import cls_and_mean
from fovea.pretrain.terms.info_nce import cosines, top1
from fovea.pretrain.terms.mlp import mlp
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Draws, Stream, seeded

PLAIN: Chain = []


class SPR(Objective):
    """From the screens now and the next actions, predict a teacher's features after each action.

    The state is summary and mean token, centred per game (see `terms.centering`): without this only
    the game was predicted. The transition model is a recurrent cell, as in the study of Zhang et
    al. 2022 (arXiv 2208.12345), and not the paper's convolutions. By default nothing is augmented,
    as in the paper with a teacher of this momentum: shifts of 4 pixels cannot be predicted, and
    with them the features began to collapse.

    Args:
        augment: augmentations of every window, drawn for each window anew.
        steps: agent steps that are predicted.
        embedding: width of an action; the same index in two games is two actions.
        projector: hidden width of projector and predictor.
        out: width of the projections and predictions.
        momentum: of the teacher.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    labels = ("action", "game")

    def __init__(
        self,
        augment: list[dict] = PLAIN,
        steps: int = 5,
        embedding: int = 32,
        projector: int = 1024,
        out: int = 256,
        momentum: float = 0.99,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: int = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.chain, self.momentum = check(augment), momentum
        self.offsets = tuple(range(steps + 1))
        state = 2 * self.encoder.dim
        with seeded(Stream.PROJECTOR, self.seed):
            self.actions = nn.Embedding(len(GAMES) * ACTIONS, embedding)
            self.transition = nn.GRUCell(embedding, state)
            self.projector = mlp(state, projector, out)
            self.predictor = mlp(out, projector, out)
        self.teacher = make_teacher(self.encoder)
        self.teacher_projector = make_teacher(self.projector)

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """The actions (B, K) and game (B,) int64, and K + 1 windows (B, stack, H, W) uint8."""
        windows = [augment(window, draws, self.chain) for window in windows.unbind(1)]
        return action[:, :-1], game[:, 0], *windows

    def losses(
        self, action: Tensor, game: Tensor, now: Tensor, *later: Tensor
    ) -> dict[str, Tensor]:
        (now,), later = self.encode(now), self.encode(*later, by=self.teacher)
        return {"prediction": self.prediction_loss(now, later, *self.gather(action, game))}

    def prediction_loss(
        self, now: Features, later: list[Features], action: Tensor, game: Tensor
    ) -> Tensor:
        """The loss of predicting the K later windows from now and the actions (B, K)."""
        state, *future = (center_per_game(cls_and_mean(one), game) for one in (now, *later))
        states = self.rollout(state, game[:, None] * ACTIONS + action)
        prediction = self.predictor(self.projector(rearrange(states, "k b s -> (k b) s")))
        target = self.teacher_projector(torch.cat(future))
        prediction, target = (
            rearrange(x, "(k b) d -> k b d", k=len(later)) for x in (prediction, target)
        )
        self.note(top1=top1(cosines(prediction[-1], target[-1])))
        return spr_loss(prediction, target)

    def rollout(self, state: Tensor, action: Tensor) -> Tensor:
        """(K, B, S): the states (B, S) predicted after each of the actions (B, K)."""
        states = []
        for embedded in self.actions(action).unbind(1):
            state = self.transition(embedded, state)
            states.append(state)
        return torch.stack(states)

    def after_optimizer_step(self) -> None:
        ema_update(self.teacher, self.encoder, self.momentum)
        ema_update(self.teacher_projector, self.projector, self.momentum)


@full_precision
def spr_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - cosine of predictions and targets (K, B, D): summed over the K steps, mean of the batch.

    The paper's is less by the constant K.
    """
    return (1 - F.cosine_similarity(prediction, target, dim=-1)).sum(0).mean()
