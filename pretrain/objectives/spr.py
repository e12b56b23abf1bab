"""SPR (Schwarzer et al. 2021, arXiv 2007.05929): what actions will make of the screens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fovea.atari.games import ACTIONS, GAMES
from fovea.pretrain.augment import Chain, augment, check
from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.terms.centering import within
from fovea.pretrain.terms.cls_and_mean import seen
from fovea.pretrain.terms.info_nce import cosines, found
from fovea.pretrain.terms.mlp import mlp
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.teacher import copied, follow
from fovea.seeding import Draws, Stream, seeded

PLAIN: Chain = []


class SPR(Objective):
    """From the screens now and the next actions, predict what a teacher sees after each.

    The state is the summary beside the mean token, as they differ within a game (see
    `terms.centering`): without this the game was all that was predicted. A recurrent cell carries
    it on, as in the study of Zhang et al. 2022 (arXiv 2208.12345), where the paper convolves. By
    default nothing is augmented, which the paper has with a teacher of this momentum: shifts of 4
    pixels cannot be foreseen, and with them the features were on their way to one point.

    Args:
        augment: the chain of every window, drawn for each anew.
        steps: agent steps that are predicted.
        embedding: width of an action; the same index in two games is two actions.
        projector: hidden width of projector and predictor.
        out: width of what is predicted.
        momentum: of the teacher.
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
        **base,
    ):
        super().__init__(**base)
        self.chain, self.momentum = check(augment), momentum
        self.offsets = tuple(range(steps + 1))
        state = 2 * self.encoder.dim
        with seeded(Stream.PROJECTOR, self.seed):
            self.actions = nn.Embedding(len(GAMES) * ACTIONS, embedding)
            self.transition = nn.GRUCell(embedding, state)
            self.projector = mlp(state, projector, out)
            self.predictor = mlp(out, projector, out)
        self.teacher, self.teacher_projector = copied(self.encoder), copied(self.projector)

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
        return {"prediction": self.foreseen(now, later, *self.join(action, game))}

    def foreseen(
        self, now: Features, later: list[Features], action: Tensor, game: Tensor
    ) -> Tensor:
        """The loss of what is foretold of the K later windows from now and actions (B, K)."""
        states = self.carried(within(seen(now), game), game[:, None] * ACTIONS + action)
        said = self.predictor(self.projector(states.flatten(0, 1)))
        wanted = self.teacher_projector(torch.cat([within(seen(one), game) for one in later]))
        said, wanted = (x.unflatten(0, (len(states), -1)) for x in (said, wanted))
        self.note(found=found(cosines(said[-1], wanted[-1])))
        return spr_loss(said, wanted)

    def carried(self, state: Tensor, action: Tensor) -> Tensor:
        """(K, B, S): what states (B, S) become after each of the actions (B, K)."""
        states = []
        for taken in self.actions(action).unbind(1):
            state = self.transition(taken, state)
            states.append(state)
        return torch.stack(states)

    def stepped(self) -> None:
        follow(self.teacher, self.encoder, self.momentum)
        follow(self.teacher_projector, self.projector, self.momentum)


@full_precision
def spr_loss(said: Tensor, wanted: Tensor) -> Tensor:
    """1 - cosine of what was predicted and what was seen (K, B, D): summed over the K steps.

    Mean over the batch; the paper's is less by the constant K.
    """
    return (1 - F.cosine_similarity(said, wanted, dim=-1)).sum(0).mean()
