"""ATC (Stooke et al. 2020, arXiv 2009.08319): augmented temporal contrast."""

from __future__ import annotations

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fovea.pretrain.augment import Chain
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.two_views import TwoViews
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.info_nce import info_nce, products, top1
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Draws, Stream, seeded

SHIFT: Chain = [{"name": "shift", "pixels": 4, "p": 0.2}]


class ATC(TwoViews):
    """From the screens now, find the teacher's code of those a little later, both shifted.

    Codes are computed from the state (see `Objective.state`), centred per game (see
    `terms.centering`). Only a share of the screens is shifted: a shifted background differs more
    than two moments of a game do, and where every screen was shifted nothing was learned.

    Args:
        augment_first: augmentations of the screens now.
        augment_second: augmentations of the screens later.
        later: agent steps from now to later.
        code: width of the codes.
        predictor: hidden width of the residual predictor.
        momentum: of the teacher.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    labels = ("game",)

    def __init__(
        self,
        augment_first: list[dict] = SHIFT,
        augment_second: list[dict] = SHIFT,
        later: NonNegativeInt = 3,
        code: PositiveInt = 128,
        predictor: PositiveInt = 512,
        momentum: ClosedUnitInterval = 0.99,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(
            augment_first, augment_second, later, encoder, optimisation, compiled, seed
        )
        self.momentum = momentum
        with seeded(Stream.PROJECTOR, self.seed):
            self.compressor = nn.Linear(self.state_dim, code)
            self.predictor = nn.Sequential(
                nn.Linear(code, predictor), nn.ReLU(), nn.Linear(predictor, code)
            )
            self.bilinear = nn.Linear(code, code, bias=False)
        self.teacher = make_teacher(self.encoder)
        self.teacher_compressor = make_teacher(self.compressor)

    def views(  # type: ignore[override]  # it needs the game
        self, windows: Tensor, draws: Draws, game: Tensor
    ) -> tuple[Tensor, ...]:
        """Two (B, stack, H, W) uint8 views, now and later, and the game (B,) int64."""
        return *super().views(windows, draws), game[:, 0]

    def losses(self, first: Tensor, second: Tensor, game: Tensor) -> dict[str, Tensor]:
        (now,), (later,) = self.encode(first), self.encode(second, by=self.teacher)
        (game,) = self.gather(game)
        anchor = self.compressor(center_per_game(self.state(now), game))
        anchor = self.bilinear(anchor + self.predictor(anchor))
        positive = self.teacher_compressor(center_per_game(self.state(later), game))
        scores = products(anchor, positive)
        self.note(top1=top1(scores))
        return {"contrast": info_nce(scores)}

    def after_optimizer_step(self) -> None:
        ema_update(self.teacher, self.encoder, self.momentum)
        ema_update(self.teacher_compressor, self.compressor, self.momentum)
