"""ST-DIM (Anand et al. 2019, arXiv 1906.08226): InfoNCE with the next screens, place by place."""

from __future__ import annotations

from jsonargparse.typing import NonNegativeInt
from torch import Tensor, nn

from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.info_nce import info_nce, products, top1
from fovea.seeding import Draws, Stream, seeded


class STDIM(Objective):
    """At each place, the later token of a sample is the positive among those of the batch.

    The queries are the summary now, and the token now at the same place; all are centred per game
    (see `terms.centering`).

    Args:
        later: agent steps from now to later.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    labels = ("game",)

    def __init__(
        self,
        later: NonNegativeInt = 1,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.offsets = (0, later)
        dim = self.encoder.dim
        with seeded(Stream.PROJECTOR, self.seed):
            self.of_summary = nn.Linear(self.encoder.summary_dim, dim, bias=False)
            self.of_token = nn.Linear(dim, dim, bias=False)

    def views(self, windows: Tensor, draws: Draws, game: Tensor) -> tuple[Tensor, ...]:
        """(B, stack, H, W) uint8 now and later, as they were seen; the game (B,) int64."""
        return *windows.unbind(1), game[:, 0]

    def losses(self, now: Tensor, later: Tensor, game: Tensor) -> dict[str, Tensor]:
        now, later = self.encode(now, later)
        (game,) = self.gather(game)
        target = center_per_game(later.tokens, game)
        summary = self.of_summary(center_per_game(now.summary, game))
        tokens = self.of_token(center_per_game(now.tokens, game))
        scores = {
            "global_local": place_scores(summary[:, None].expand_as(target), target),
            "local_local": place_scores(tokens, target),
        }
        self.note(**{f"{name}_top1": top1(score) for name, score in scores.items()})
        return {name: info_nce(score) for name, score in scores.items()}


def place_scores(queries: Tensor, tokens: Tensor) -> Tensor:
    """(N, B, B) products of queries and tokens (B, N, D) of the same place, over sqrt(D)."""
    return products(queries.transpose(0, 1), tokens.transpose(0, 1))
