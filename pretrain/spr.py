"""SPR (Schwarzer et al. 2021, arXiv 2007.05929): what actions will make of the screens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atari.games import ACTIONS, GAMES
from pretrain.augment import augment, check
from pretrain.draws import Draws, seeded
from pretrain.objective import Objective, full_precision
from pretrain.order import seen
from pretrain.teacher import copied, follow
from pretrain.two_views import PROJECTOR, SHIFT_AND_INTENSITY, mlp


class SPR(Objective):
    """From the screens now and the next actions, predict what a teacher sees after each.

    The state is the summary beside the mean token, and a recurrent cell carries it on, as in the
    study of Zhang et al. 2022 (arXiv 2208.12345); the paper's own is convolutional.

    Args:
        augment: the chain of every window, drawn for each anew.
        steps: agent steps that are predicted.
        embedding: width of an action; the same action of two games is two.
        projector: hidden width of projector and predictor.
        out: width of what is predicted.
        momentum: of the teacher.
    """

    labels = ("action", "game")

    def __init__(
        self,
        augment: list[dict] = SHIFT_AND_INTENSITY,
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
        with seeded(self.seed, PROJECTOR):
            self.actions = nn.Embedding(len(GAMES) * ACTIONS, embedding)
            self.transition = nn.GRUCell(embedding, state)
            self.projector = mlp(state, projector, out)
            self.predictor = mlp(out, projector, out)
        self.teacher, self.teacher_projector = copied(self.encoder), copied(self.projector)

    def views(
        self, windows: Tensor, draws: Draws, action: Tensor, game: Tensor
    ) -> tuple[Tensor, ...]:
        """The actions (B, K) int64, numbered over all games, and K + 1 (B, stack, H, W) uint8."""
        windows = [augment(window, draws, self.chain) for window in windows.unbind(1)]
        return (game * ACTIONS + action)[:, :-1], *windows

    def losses(self, action: Tensor, now: Tensor, *later: Tensor) -> dict[str, Tensor]:
        (action,), (now,) = self.join(action), self.encode(now)
        state, states = seen(now), []
        for taken in self.actions(action).unbind(1):
            state = self.transition(taken, state)
            states.append(state)
        said = self.predictor(self.projector(torch.cat(states)))
        taught = [seen(window) for window in self.encode(*later, by=self.teacher)]
        wanted = self.teacher_projector(torch.cat(taught))
        return {"prediction": spr_loss(*(x.unflatten(0, (len(later), -1)) for x in (said, wanted)))}

    def stepped(self) -> None:
        follow(self.teacher, self.encoder, self.momentum)
        follow(self.teacher_projector, self.projector, self.momentum)


@full_precision
def spr_loss(said: Tensor, wanted: Tensor) -> Tensor:
    """1 - cosine of what was predicted and what was seen (K, B, D): summed over the K steps.

    Mean over the batch; the paper's is less by the constant K.
    """
    return (1 - F.cosine_similarity(said, wanted, dim=-1)).sum(0).mean()
