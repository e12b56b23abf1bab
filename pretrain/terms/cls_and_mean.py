"""The summary and the mean token side by side: what the heads of several objectives read."""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.pretrain.encoders.encoder import Features


def cls_and_mean(features: Features) -> Tensor:
    """(B, 2 D): the summary beside the mean token, which knows more of positions."""
    return torch.cat([features.summary, features.tokens.mean(1)], dim=1)
