"""Policies that do not change with augmentations of the screens.

DrAC (Raileanu et al. 2021, arXiv 2006.12862, eq. 6) asks that policy and value of one augmented
view agree with those of the clean one; ROMA (Liu et al., arXiv 2605.09262) asks it of the worst of
several views, and only where the advantage is positive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.pretrain.augment import Chain, augment
from fovea.seeding import Draws


def views(screens: Tensor, chains: list[Chain], draws: Draws) -> Tensor:
    """(K * B, stack, H, W) uint8: screens (B, stack, H, W) under each of K chains in turn."""
    # For `render`: every sample counts as an episode of its own.
    draws.episode = draws.integers(2**31)
    return torch.cat([augment(screens, draws, chain) for chain in chains])


def disagreement(
    logp: Tensor, view_logp: Tensor, value: Tensor, view_value: Tensor
) -> tuple[Tensor, Tensor]:
    """How far policy and value of the worst of K views are from those of the clean screens.

    Args:
        logp: (B, actions) log-probabilities on clean screens; no gradient flows into them.
        view_logp: (K * B, actions), of the views.
        value: (B,), on clean screens; no gradient flows into them either.
        view_value: (K * B,), of the views.

    Returns two of (B,): the largest Kullback-Leibler divergence of a view's policy from the clean
    one's, and the mean over views of the squared difference of the values.
    """
    logp, value = logp.detach(), value.detach()
    view_logp, view_value = (x.unflatten(0, (-1, len(logp))) for x in (view_logp, view_value))
    divergence = (logp.exp() * (logp - view_logp)).sum(dim=2).amax(dim=0)
    return divergence, (view_value - value).square().mean(dim=0)
