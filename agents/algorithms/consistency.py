"""What a policy should not mind: the same state under views that are corrupted.

DrAC (Raileanu et al. 2021, arXiv 2006.12862, eq. 6) asks that policy and value of one augmented
view agree with those of the clean one; ROMA (Liu et al., arXiv 2605.09262) asks it of the worst of
several, and only where the policy did well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.pretrain.augment import Chain, augment
from fovea.seeding import Draws


def views(screens: Tensor, chains: list[Chain], draws: Draws) -> Tensor:
    """(K * B, stack, H, W) uint8: screens (B, stack, H, W) under each of K chains in turn."""
    # Of `render`: every sample is an episode of its own.
    draws.episode = draws.integers(2**31)
    return torch.cat([augment(screens, draws, chain) for chain in chains])


def disagreement(
    clean: Tensor, corrupted: Tensor, value: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """How far policy and value of the worst of K views are from those of the clean one.

    Args:
        clean: (B, actions) log-probabilities, taken as the truth: no gradient flows into them.
        corrupted: (K * B, actions), of the views.
        value, values: (B,) and (K * B,), likewise.

    Returns two of (B,): the largest Kullback-Leibler divergence of a view's policy from the clean
    one's, and the mean over views of the squared difference of the values.
    """
    clean, value = clean.detach(), value.detach()
    corrupted, values = (x.unflatten(0, (-1, len(clean))) for x in (corrupted, values))
    divergence = (clean.exp() * (clean - corrupted)).sum(dim=2).amax(dim=0)
    return divergence, (values - value).square().mean(dim=0)
