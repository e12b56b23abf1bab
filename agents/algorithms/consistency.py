"""Policies that do not change with augmentations of the screens.

DrAC (Raileanu et al. 2021, arXiv 2006.12862, eq. 6) asks that policy and value of one augmented
view agree with those of the clean one; ROMA (Liu et al., arXiv 2605.09262) asks it of the worst of
several views, and only where the advantage is positive. Of an agent of values the policy is
softmax(Q / tau).
"""

from __future__ import annotations

import torch
from torch import Tensor

from fovea.command import UserError
from fovea.pretrain.augment import Chain, augment, check
from fovea.seeding import Draws


def checked(chains: list[Chain] | None, stores_features: bool) -> list[Chain]:
    """The chains. Raises UserError where they are none, or where no screens are stored."""
    found = [check(chain) for chain in chains or []]
    if found and stores_features:
        raise UserError(
            "augmentations need screens, and of a frozen encoder only features are stored: "
            "leave them out, or take an encoder that learns"
        )
    return found


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
    difference = view_value.unflatten(0, (-1, len(value))) - value.detach()
    return divergence(logp, view_logp), difference.square().mean(dim=0)


def divergence(logp: Tensor, view_logp: Tensor) -> Tensor:
    """(B,) the largest Kullback-Leibler divergence of one of K views' policies from the clean one.

    Args:
        logp: (B, actions) log-probabilities on clean screens; no gradient flows into them.
        view_logp: (K * B, actions), of the views.
    """
    logp = logp.detach()
    views = view_logp.unflatten(0, (-1, len(logp)))
    return (logp.exp() * (logp - views)).sum(dim=2).amax(dim=0)
