"""ST-DIM (Anand et al. 2019, arXiv 1906.08226): find the next screens, place by place."""

from __future__ import annotations

from torch import Tensor, nn

from pretrain.contrast import found, info_nce, products
from pretrain.draws import Draws, seeded
from pretrain.objective import Objective
from pretrain.two_views import PROJECTOR


class STDIM(Objective):
    """The screens now find the tokens of later at each place, among those of the other samples.

    Once by their summary and once by their token of the same place.

    Args:
        later: agent steps from now to later.
    """

    def __init__(self, later: int = 1, **base):
        super().__init__(**base)
        self.offsets = (0, later)
        dim = self.encoder.dim
        with seeded(self.seed, PROJECTOR):
            self.of_summary = nn.Linear(dim, dim, bias=False)
            self.of_token = nn.Linear(dim, dim, bias=False)

    def views(self, windows: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """(B, stack, H, W) uint8 now and later, as they were seen."""
        return windows.unbind(1)

    def losses(self, now: Tensor, later: Tensor) -> dict[str, Tensor]:
        now, later = self.encode(now, later)
        summaries = self.of_summary(now.summary)[:, None].expand_as(later.tokens)
        scores = {
            "global_local": place_scores(summaries, later.tokens),
            "local_local": place_scores(self.of_token(now.tokens), later.tokens),
        }
        self.note(**{f"{name}_found": found(score) for name, score in scores.items()})
        return {name: info_nce(score) for name, score in scores.items()}


def place_scores(queries: Tensor, tokens: Tensor) -> Tensor:
    """(N, B, B) products of queries and tokens (B, N, D) of the same place, for `info_nce`."""
    return products(queries.transpose(0, 1), tokens.transpose(0, 1))
