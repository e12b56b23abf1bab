"""Periodic resets of heads (Nikishin et al. 2022, arXiv 2205.07802) and schedules between them.

Heads that learn often from little experience overfit to the first of it. Weights that are drawn
anew learn from all that the replay holds by then, and so make high replay ratios pay (SR-SPR: D'Oro
et al. 2023, ICLR; BBF: Schwarzer et al. 2023, arXiv 2305.19452).
"""

from __future__ import annotations

import torch
from torch import nn


def last_reset(update: int, interval: int, updates: int) -> int:
    """The update, `update` itself or one before it, that began with a reset; 0 before the first.

    Resets come every `interval` updates, but none of which fewer than `interval` updates are left:
    a run does not end with heads that have hardly learnt (as in BBF).

    Args:
        update: counted from 0.
        interval: updates between two resets; 0 for a run without.
        updates: of the whole run.
    """
    if not interval:
        return 0
    return max(0, min(update, updates - interval)) // interval * interval


def geometric(first: float, last: float, share: float) -> float:
    """From `first` (share 0) to `last` (share 1) so that equal shares are equal factors."""
    return first ** (1 - share) * last**share


@torch.no_grad()
def shrink_and_perturb(
    module: nn.Module, fresh: nn.Module, keep: float, optimiser: torch.optim.Optimizer
) -> None:
    """Mix fresh weights into old ones (Ash and Adams 2020, arXiv 1910.08475), and clear moments.

    Args:
        module: whose weights change in place.
        fresh: a module like it.
        keep: share of the old weights; 0 copies the fresh ones.
        optimiser: whose moments of these weights, if it has any, are those of a new one.
    """
    for old, new in zip(module.parameters(), fresh.parameters(), strict=True):
        old.lerp_(new.to(old.device), 1 - keep)
        optimiser.state.pop(old, None)
