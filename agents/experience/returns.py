"""Returns and advantages of experience."""

from __future__ import annotations

import torch
from torch import Tensor


def gae(
    rewards: Tensor,
    values: Tensor,
    dones: Tensor,
    next_value: Tensor,
    next_done: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

    Args:
        rewards, values: (T, N), of step t and of observation t.
        dones: (T, N), 1 where observation t starts a new episode.
        next_value, next_done: (N,), the same of the observation after the last step.
        gamma, lam: discount, and how far advantages look ahead.

    Returns (T, N); added to `values` they are the targets of the value.
    """
    following = torch.cat([values[1:], next_value[None]])
    goes_on = 1 - torch.cat([dones[1:], next_done[None]]).to(values.dtype)
    errors = rewards + gamma * following * goes_on - values
    advantages = torch.empty_like(errors)
    running = torch.zeros_like(next_value)
    for t in reversed(range(len(errors))):
        running = errors[t] + gamma * lam * goes_on[t] * running
        advantages[t] = running
    return advantages


def n_step(
    rewards: Tensor, terminal: Tensor, cut: Tensor, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Discounted returns of windows of n steps that end early with their episode.

    Args:
        rewards: (B, n) of the steps of each window.
        terminal: (B, n) bool, nothing follows the step.
        cut: (B, n) bool, what follows the step is not known; never in the first column.
        gamma: discount.

    Returns, each (B,): the return up to where the window ends; the discount of the value of what
    follows there, 0 after a terminal step; int64, how many steps the window has.
    """
    over = terminal.cumsum(dim=1) - terminal.long()  # terminal steps before this one
    counted = (over == 0) & (cut.cumsum(dim=1) == 0)
    powers = gamma ** torch.arange(rewards.shape[1], dtype=rewards.dtype)
    length = counted.sum(dim=1)
    ended = (terminal & counted).any(dim=1)
    discount = torch.where(ended, 0.0, gamma ** length.to(rewards.dtype))
    return (rewards * powers * counted).sum(dim=1), discount, length


def to_go(rewards: Tensor, last: Tensor, gamma: float) -> Tensor:
    """Discounted returns to the end of each step's episode.

    Args:
        rewards: (N,), of steps in order, the episodes one after the other.
        last: (N,) bool, the step ends its episode; so does the last of all.
        gamma: discount.

    Returns (N,) float32.
    """
    at = torch.arange(len(rewards))
    ends = last.nonzero().flatten()
    end = torch.cat([ends, at[-1:]])[torch.searchsorted(ends, at)]
    total, span = rewards.double(), 1
    while span < len(rewards):  # the sum of so many steps, and then of twice as many
        ahead = at + span
        further = torch.where(ahead <= end, total[ahead.clamp(max=len(at) - 1)], 0.0)
        total, span = total + gamma**span * further, 2 * span
    return total.float()
