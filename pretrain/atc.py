"""ATC (Stooke et al. 2020, arXiv 2009.08319): augmented temporal contrast."""

from __future__ import annotations

from torch import Tensor, nn

from pretrain.augment import Chain
from pretrain.contrast import found, info_nce, products
from pretrain.draws import seeded
from pretrain.order import seen
from pretrain.teacher import copied, follow
from pretrain.two_views import PROJECTOR, TwoViews

SHIFT: Chain = [{"name": "shift", "pixels": 4}]


class ATC(TwoViews):
    """From the shifted screens now, find the teacher's code of the same game a little later.

    Args:
        later: agent steps from now to later.
        code: width of the code that the summary and the mean token are compressed to.
        predictor: hidden width of the residual predictor.
        momentum: of the teacher.
    """

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
        with seeded(self.seed, PROJECTOR):
            self.compressor = nn.Linear(2 * self.encoder.dim, code)
            self.predictor = nn.Sequential(
                nn.Linear(code, predictor), nn.ReLU(), nn.Linear(predictor, code)
            )
            self.bilinear = nn.Linear(code, code, bias=False)
        self.teacher, self.teacher_compressor = copied(self.encoder), copied(self.compressor)

    def losses(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        (now,) = self.encode(first)
        (later,) = self.encode(second, by=self.teacher)
        anchor = self.compressor(seen(now))
        anchor = anchor + self.predictor(anchor)
        scores = products(self.bilinear(anchor), self.teacher_compressor(seen(later)))
        self.note(found=found(scores))
        return {"contrast": info_nce(scores)}

    def stepped(self) -> None:
        follow(self.teacher, self.encoder, self.momentum)
        follow(self.teacher_compressor, self.compressor, self.momentum)
