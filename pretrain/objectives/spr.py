"""SPR (Schwarzer et al. 2021, arXiv 2007.05929): predict later features from now and actions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fovea.atari.games import ACTIONS, GAMES
from fovea.command import UserError
from fovea.pretrain.augment import Chain, augment, check
from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation, cosine, share
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.dense import DensePredictor
from fovea.pretrain.terms.info_nce import cosines, top1
from fovea.pretrain.terms.mlp import mlp
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Draws, Stream, seeded

PLAIN: Chain = []


class SPR(Objective):
    """From the screens now and the next actions, predict a teacher's features after the actions.

    The state (see `Objective.state`) is centred per game (see `terms.centering`): without this only
    the game was predicted. The transition model is a recurrent cell, as in the study of Zhang et
    al. 2022 (arXiv 2208.12345), and not the paper's convolutions. By default nothing is augmented,
    as in the paper with a teacher of this momentum: shifts of 4 pixels cannot be predicted, and
    with them the features began to collapse.

    Args:
        augment: augmentations of every window, drawn for each window anew.
        steps: which of the next agent steps are predicted, in ascending order; windows nearer than
            the encoder's stack share screens with those now.
        dense: coefficient of the dense prediction: each token, at its place, predicts the teacher's
            token there (see `terms.dense`); 0 leaves it out.
        embedding: width of an action; the same index in two games is two actions.
        projector: hidden width of projector and predictor.
        out: width of the projections and predictions.
        momentum: of the teacher.
        last_momentum: of the teacher at the end of a half-cosine; None: it is constant.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.

    Raises UserError for steps that do not ascend from 1 or later.
    """

    labels = ("action", "game")

    def __init__(
        self,
        augment: list[dict] = PLAIN,
        steps: tuple[PositiveInt, ...] = (1, 2, 3, 4, 5),
        dense: NonNegativeFloat = 0.0,
        embedding: PositiveInt = 32,
        projector: PositiveInt = 1024,
        out: PositiveInt = 256,
        momentum: ClosedUnitInterval = 0.99,
        last_momentum: ClosedUnitInterval | None = None,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        if not steps or list(steps) != sorted({max(1, step) for step in steps}):
            raise UserError(
                f"steps {list(steps)} are no ascending agent steps from 1 on: take [4, 8]"
            )
        self.chain, self.steps, self.dense = check(augment), tuple(steps), dense
        self.momentum, self.last_momentum = momentum, last_momentum
        self.offsets = tuple(range(steps[-1] + 1))  # every action on the way is asked for
        with seeded(Stream.PROJECTOR, self.seed):
            self.actions = nn.Embedding(len(GAMES) * ACTIONS, embedding)
            self.transition = nn.GRUCell(embedding, self.state_dim)
            self.projector = mlp(self.state_dim, projector, out)
            self.predictor = mlp(out, projector, out)
        if dense:
            with seeded(Stream.DENSE_PREDICTOR, self.seed):
                self.dense_predictor = DensePredictor(self.encoder.dim, self.state_dim)
        self.teacher = make_teacher(self.encoder)
        self.teacher_projector = make_teacher(self.projector)

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """Actions (B, K) and game (B,) int64; windows (B, stack, H, W) uint8 now and predicted."""
        shown = [windows[:, step] for step in (0, *self.steps)]
        return action[:, :-1], game[:, 0], *(augment(one, draws, self.chain) for one in shown)

    def losses(
        self, action: Tensor, game: Tensor, now: Tensor, *later: Tensor
    ) -> dict[str, Tensor]:
        (seen,), after = self.encode(now), self.encode(*later, by=self.teacher)
        return self.prediction_losses(seen, after, *self.gather(action, game))

    def prediction_losses(
        self, now: Features, later: list[Features], action: Tensor, game: Tensor
    ) -> dict[str, Tensor]:
        """The losses of predicting the later windows from now and the actions (B, K)."""
        state, *future = (center_per_game(self.state(one), game) for one in (now, *later))
        states = self.rollout(state, game[:, None] * ACTIONS + action)
        states = states[[step - 1 for step in self.steps]]
        prediction = self.predictor(self.projector(rearrange(states, "k b s -> (k b) s")))
        target = self.teacher_projector(torch.cat(future))
        prediction, target = (
            rearrange(x, "(k b) d -> k b d", k=len(later)) for x in (prediction, target)
        )
        self.note(top1=top1(cosines(prediction[-1], target[-1])))
        losses = {"prediction": spr_loss(prediction, target)}
        if self.dense:
            tokens = center_per_game(now.tokens, game)
            prediction = torch.stack([self.dense_predictor(tokens, state) for state in states])
            target = torch.stack([center_per_game(one.tokens, game) for one in later])
            losses["dense"] = self.dense * spr_loss(prediction.flatten(1, 2), target.flatten(1, 2))
        return losses

    def rollout(self, state: Tensor, action: Tensor) -> Tensor:
        """(K, B, S): the states (B, S) predicted after each of the actions (B, K)."""
        states = []
        for embedded in self.actions(action).unbind(1):
            state = self.transition(embedded, state)
            states.append(state)
        return torch.stack(states)

    def momentum_at(self, over: float) -> float:
        """The teacher's momentum where a share of the run is over."""
        last = self.momentum if self.last_momentum is None else self.last_momentum
        return cosine(self.momentum, last, over)

    def schedules(self, step: int, steps: int) -> dict[str, float]:
        values = super().schedules(step, steps)
        if self.last_momentum is not None:
            values["the teacher's momentum"] = self.momentum_at(share(step, steps))
        return values

    def after_optimizer_step(self) -> None:
        momentum = self.momentum_at(self.progress)
        ema_update(self.teacher, self.encoder, momentum)
        ema_update(self.teacher_projector, self.projector, momentum)


@full_precision
def spr_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - cosine of predictions and targets (K, B, D): summed over the K steps, mean of the batch.

    The paper's is less by the constant K.
    """
    return (1 - F.cosine_similarity(prediction, target, dim=-1)).sum(0).mean()
