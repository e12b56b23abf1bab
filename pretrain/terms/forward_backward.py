"""Forward and backward features of how often a policy comes from one state to another.

One-step FB (Zheng, Jayanth & Eysenbach 2026, arXiv 2602.11399): the successor measure of the policy
that made the recordings is the product of forward features F(s, a) and backward features B(s').
For any reward, values are then F(s, a) z, with z the mean of B weighted by the reward: one step of
policy improvement, without learning anew. Actions are few, so there is no actor.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fovea.pretrain.terms.precision import full_precision


def layers(inside: int, width: int, out: int) -> nn.Sequential:
    """Two hidden layers with GELU, normed, and a linear one."""
    return nn.Sequential(
        nn.Linear(inside, width),
        nn.GELU(),
        nn.LayerNorm(width),
        nn.Linear(width, width),
        nn.GELU(),
        nn.LayerNorm(width),
        nn.Linear(width, out),
    )


@full_precision
def fb_loss(
    forward: Tensor,
    backward: Tensor,
    next_forward: Tensor,
    target_backward: Tensor,
    discount: Tensor,
    gamma: float,
    alike: Tensor | None = None,
) -> Tensor:
    """The loss of K forward features and one backward feature of N steps (TD-LSIF).

    Of M = F B', the measure of where each step leads, the diagonal is pushed up, since a step
    leads to its own state first, and all others towards the discounted measure of the step that
    follows by the policy that was recorded.

    Args:
        forward: (K, N, d) of each step's state and action.
        backward: (N, d) of each step's state.
        next_forward: (K, N, d) a teacher's, of the state and the action that follow.
        target_backward: (N, d) a teacher's, of each step's state.
        discount: (N,) of what follows; 0 where nothing does.
        gamma: discount of a step.
        alike: (N, N) bool, which pairs of steps are of one game; None: all.

    Returns the mean over the K of -(1 - gamma) mean_i M_ii + mean_i!=j (M_ij - discount_i M'_ij)^2
    / 2, where M' is the mean over the K of the teacher's.
    """
    count = forward.shape[1]
    measure = torch.einsum("knd,md->knm", forward, backward)
    target = torch.einsum("knd,md->knm", next_forward, target_backward).mean(dim=0)
    others = ~torch.eye(count, dtype=torch.bool, device=forward.device)
    others = others if alike is None else others & alike
    error = (measure - (discount[:, None] * target).detach()).square() * others
    squares = error.sum(dim=(1, 2)) / others.sum().clamp(min=1)
    diagonal = measure.diagonal(dim1=1, dim2=2).mean(dim=1)
    return (0.5 * squares - (1 - gamma) * diagonal).mean()


@full_precision
def orthonormal_loss(backward: Tensor, alike: Tensor | None = None) -> Tensor:
    """-mean_i B_i B_i' + mean_i!=j (B_i B_j')^2 / 2 of backward features (N, d): no two the same.

    `alike` (N, N) bool says which pairs count; None: all.
    """
    products = backward @ backward.T
    others = ~torch.eye(len(backward), dtype=torch.bool, device=backward.device)
    others = others if alike is None else others & alike
    squares = (products.square() * others).sum() / others.sum().clamp(min=1)
    return 0.5 * squares - products.diagonal().mean()


@full_precision
def task_vector(backward: Tensor, reward: Tensor, temperature: float = 0.0) -> Tensor:
    """(d,) z, with which F z are values of a reward: the mean of reward times B, of length sqrt(d).

    Args:
        backward: (N, d) of states with known rewards.
        reward: (N,) there.
        temperature: T; with one above 0, rewards are weighted by softmax(T * reward) as in the
            paper's code, which looks at the best states alone.
    """
    weight = reward / len(reward)
    if temperature:
        weight = (temperature * reward).softmax(dim=0) * reward
    z = weight @ backward
    return z * backward.shape[1] ** 0.5 / z.norm().clamp(min=1e-8)
