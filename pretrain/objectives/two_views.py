"""What every objective that compares two augmented views of the same screens shares."""

from __future__ import annotations

from torch import Tensor

from fovea.pretrain.augment import Chain, augment, check
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.seeding import Draws

SHIFT_AND_INTENSITY: Chain = [{"name": "shift", "pixels": 4}, {"name": "intensity", "scale": 0.05}]


class TwoViews(Objective):
    """Two views of the screens now, or of now and later.

    Args:
        augment_first: augmentations of the first view.
        augment_second: augmentations of the second view.
        later: agent steps from the screens of the first view to those of the second.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    def __init__(
        self,
        augment_first: list[dict] = SHIFT_AND_INTENSITY,
        augment_second: list[dict] = SHIFT_AND_INTENSITY,
        later: int = 0,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: int = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.chains = check(augment_first), check(augment_second)
        self.offsets = (0, later) if later else (0,)

    def views(self, windows: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """(B, stack, H, W) uint8, twice, of windows (B, 1 or 2, stack, H, W)."""
        ends = windows[:, 0], windows[:, -1]
        return tuple(
            augment(end, draws, chain) for end, chain in zip(ends, self.chains, strict=True)
        )
