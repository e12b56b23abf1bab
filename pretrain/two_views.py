"""What every objective that compares two augmented views of the same screens shares."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from pretrain.augment import Chain, augment, check
from pretrain.draws import Draws
from pretrain.objective import Objective

PROJECTOR = 1  # keeps a projector's initial weights apart from the encoder's
SHIFT_AND_INTENSITY: Chain = [{"name": "shift", "pixels": 4}, {"name": "intensity", "scale": 0.05}]


class TwoViews(Objective):
    """Two views of the screens now, or of now and later.

    Args:
        augment_first, augment_second: the chains of the two views.
        later: agent steps from the screens of the first view to those of the second.
    """

    def __init__(
        self,
        augment_first: list[dict] = SHIFT_AND_INTENSITY,
        augment_second: list[dict] = SHIFT_AND_INTENSITY,
        later: int = 0,
        **base,
    ):
        super().__init__(**base)
        self.chains = check(augment_first), check(augment_second)
        self.offsets = (0, later) if later else (0,)

    def views(self, windows: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """(B, stack, H, W) uint8, twice, of windows (B, 1 or 2, stack, H, W)."""
        ends = windows[:, 0], windows[:, -1]
        return tuple(
            augment(end, draws, chain) for end, chain in zip(ends, self.chains, strict=True)
        )


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with BatchNorm and ReLU between; the last is bare."""
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths[:-1]):
        layers += [nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias=False))
