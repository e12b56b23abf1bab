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
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

    Args:
        rewards: (T, N), of step t.
        values: (T, N), of observation t.
        dones: (T, N), 1 where observation t starts a new episode.
        next_value: (N,), value of the observation after the last step.
        next_done: (N,), 1 where that observation starts a new episode.
        gamma: discount.
        gae_lambda: weight of later TD errors, 0 for one-step advantages, 1 for whole returns.

    Returns (T, N); added to `values` they are the targets of the value.
    """
    next_values = torch.cat([values[1:], next_value[None]])
    goes_on = 1 - torch.cat([dones[1:], next_done[None]]).to(values.dtype)
    td_errors = rewards + gamma * next_values * goes_on - values
    advantages = torch.empty_like(td_errors)
    running = torch.zeros_like(next_value)
    for t in reversed(range(len(td_errors))):
        running = td_errors[t] + gamma * gae_lambda * goes_on[t] * running
        advantages[t] = running
    return advantages


def n_step(
    rewards: Tensor, terminal: Tensor, truncated: Tensor, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Discounted returns of windows of n steps that end early with their episode.

    Args:
        rewards: (B, n) of the steps of each window.
        terminal: (B, n) bool, nothing follows the step.
        truncated: (B, n) bool, what follows the step is not stored; never in the first column.
        gamma: discount.

    Returns, each (B,): the return up to the window's end; the discount of the value of the
    observation there, 0 after a terminal step; int64, the number of steps in the window.
    """
    over = terminal.cumsum(dim=1) - terminal.long()  # terminal steps before this one
    counted = (over == 0) & (truncated.cumsum(dim=1) == 0)
    powers = gamma ** torch.arange(rewards.shape[1], dtype=rewards.dtype)
    length = counted.sum(dim=1)
    ended = (terminal & counted).any(dim=1)
    discount = torch.where(ended, 0.0, gamma ** length.to(rewards.dtype))
    return (rewards * powers * counted).sum(dim=1), discount, length


def to_go(rewards: Tensor, last: Tensor, gamma: float) -> Tensor:
    """Discounted returns from each step to the end of its episode.

    Args:
        rewards: (N,), of steps in order, episode after episode.
        last: (N,) bool, whether the step ends its episode; the last of all always does.
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
