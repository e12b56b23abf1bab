"""A measure of collapse: how far features are from all being the same."""

from __future__ import annotations

import torch
from torch import Tensor


def feature_std(features: Tensor) -> Tensor:
    """How far (B, D) features are from one point: sqrt(D) times the mean std of the unit vectors.

    0 where all are the same, about 1 where they point everywhere alike.
    """
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    unit = torch.nn.functional.normalize(wide, dim=1)
    return unit.std(dim=0).mean() * features.shape[1] ** 0.5
