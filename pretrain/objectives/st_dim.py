"""ST-DIM (Anand et al. 2019, arXiv 1906.08226): find the next screens, place by place."""

from __future__ import annotations

from torch import Tensor, nn

from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.terms.centering import within
from fovea.pretrain.terms.info_nce import found, info_nce, products
from fovea.seeding import Draws, Stream, seeded


class STDIM(Objective):
    """The screens now find the tokens of later at each place, among those of the other samples.

    Once by their summary and once by their token of the same place; all of them as they differ
    within a game (see `terms.centering`).

    Args:
        later: agent steps from now to later.
    """

    labels = ("game",)

    def __init__(self, later: int = 1, **base):
        super().__init__(**base)
        self.offsets = (0, later)
        dim = self.encoder.dim
        with seeded(Stream.PROJECTOR, self.seed):
            self.of_summary = nn.Linear(dim, dim, bias=False)
            self.of_token = nn.Linear(dim, dim, bias=False)

    def views(self, windows: Tensor, draws: Draws, game: Tensor) -> tuple[Tensor, ...]:
        """(B, stack, H, W) uint8 now and later, as they were seen; the game (B,) int64."""
        return *windows.unbind(1), game[:, 0]

    def losses(self, now: Tensor, later: Tensor, game: Tensor) -> dict[str, Tensor]:
        now, later = self.encode(now, later)
        (game,) = self.join(game)
        wanted = within(later.tokens, game)
        summaries = self.of_summary(within(now.summary, game))[:, None].expand_as(wanted)
        scores = {
            "global_local": place_scores(summaries, wanted),
            "local_local": place_scores(self.of_token(within(now.tokens, game)), wanted),
        }
        self.note(**{f"{name}_found": found(score) for name, score in scores.items()})
        return {name: info_nce(score) for name, score in scores.items()}


def place_scores(queries: Tensor, tokens: Tensor) -> Tensor:
    """(N, B, B) products of queries and tokens (B, N, D) of the same place, over sqrt(D)."""
    return products(queries.transpose(0, 1), tokens.transpose(0, 1))
