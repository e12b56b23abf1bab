"""ATC (Stooke et al. 2020, arXiv 2009.08319): augmented temporal contrast."""

from __future__ import annotations

from torch import Tensor, nn

from fovea.pretrain.augment import Chain
from fovea.pretrain.objectives.two_views import TwoViews
from fovea.pretrain.terms.centering import within
from fovea.pretrain.terms.cls_and_mean import seen
from fovea.pretrain.terms.info_nce import found, info_nce, products
from fovea.pretrain.terms.teacher import copied, follow
from fovea.seeding import Draws, Stream, seeded

SHIFT: Chain = [{"name": "shift", "pixels": 4, "p": 0.2}]


class ATC(TwoViews):
    """From the screens now, find the teacher's code of those a little later, both shifted.

    Codes are made of what the summary and the mean token are within a game (see
    `terms.centering`). Only a share of the screens is shifted: a shifted background differs more
    than two moments of a game do, and where every screen was shifted nothing was learned.

    Args:
        later: agent steps from now to later.
        code: width of the codes.
        predictor: hidden width of the residual predictor.
        momentum: of the teacher.
    """

    labels = ("game",)

    def __init__(
        self,
        augment_first: list[dict] = SHIFT,
        augment_second: list[dict] = SHIFT,
        later: int = 3,
        code: int = 128,
        predictor: int = 512,
        momentum: float = 0.99,
        **base,
    ):
        super().__init__(augment_first, augment_second, later, **base)
        self.momentum = momentum
        with seeded(Stream.PROJECTOR, self.seed):
            self.compressor = nn.Linear(2 * self.encoder.dim, code)
            self.predictor = nn.Sequential(
                nn.Linear(code, predictor), nn.ReLU(), nn.Linear(predictor, code)
            )
            self.bilinear = nn.Linear(code, code, bias=False)
        self.teacher, self.teacher_compressor = copied(self.encoder), copied(self.compressor)

    def views(self, windows: Tensor, draws: Draws, game: Tensor) -> tuple[Tensor, ...]:
        """Two (B, stack, H, W) uint8 views, now and later, and the game (B,) int64."""
        return *super().views(windows, draws), game[:, 0]

    def losses(self, first: Tensor, second: Tensor, game: Tensor) -> dict[str, Tensor]:
        (now,), (later,) = self.encode(first), self.encode(second, by=self.teacher)
        (game,) = self.join(game)
        anchor = self.compressor(within(seen(now), game))
        anchor = self.bilinear(anchor + self.predictor(anchor))
        scores = products(anchor, self.teacher_compressor(within(seen(later), game)))
        self.note(found=found(scores))
        return {"contrast": info_nce(scores)}

    def stepped(self) -> None:
        follow(self.teacher, self.encoder, self.momentum)
        follow(self.teacher_compressor, self.compressor, self.momentum)
