"""One-step FB: the losses by hand, a chain whose measure is known, and the teacher that follows."""

from __future__ import annotations

import pytest
import torch

from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.one_step_fb import OneStepFB
from fovea.pretrain.terms.forward_backward import fb_loss, orthonormal_loss, task_vector


def test_the_loss_by_hand() -> None:
    """Two steps, features of two numbers, two forward features of which one is zero."""
    forward = torch.tensor([[[1.0, 2.0], [0.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]]])
    backward = torch.tensor([[1.0, 0.0], [2.0, 1.0]])  # M = [[1, 4], [0, 3]] and zeros
    following = torch.tensor([[[1.0, 1.0], [2.0, 0.0]], [[1.0, 3.0], [0.0, 0.0]]])
    target = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    # The mean of both is [[1, 2], [1, 0]], and its measure [[3, 1], [1, 1]].
    discount = torch.tensor([0.5, 0.0])  # nothing follows the second
    loss = fb_loss(forward, backward, following, target, discount, 0.5)
    first = 0.5 * ((4 - 0.5 * 1) ** 2 + (0 - 0.0) ** 2) / 2 - 0.5 * (1 + 3) / 2
    second = 0.5 * ((0 - 0.5 * 1) ** 2 + 0) / 2
    assert loss.item() == pytest.approx((first + second) / 2)
    alone = torch.eye(2, dtype=torch.bool)
    other = fb_loss(forward, backward, following, target, discount, 0.5, alone)
    assert other.item() == pytest.approx(-0.5 * (1 + 3) / 2 / 2)


def test_backward_features_apart_by_hand() -> None:
    """Lengths 1 and 5, product 2."""
    backward = torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    assert orthonormal_loss(backward).item() == pytest.approx(0.5 * 4 - (1 + 5) / 2)
    alone = torch.eye(2, dtype=torch.bool)
    assert orthonormal_loss(backward, alone).item() == pytest.approx(-3)


def test_the_task_vector_is_where_the_rewards_are() -> None:
    backward = torch.tensor([[3.0, 0.0], [0.0, 5.0], [4.0, 4.0]])
    z = task_vector(backward, torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(z, torch.tensor([2**0.5, 0.0]))
    z = task_vector(backward, torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(z, 2**0.5 * torch.tensor([3.0, 5.0]) / 34**0.5)
    sharp = task_vector(backward, torch.tensor([1.0, 2.0, 0.0]), temperature=100.0)
    torch.testing.assert_close(sharp, torch.tensor([0.0, 2**0.5]))


@pytest.mark.slow
def test_the_measure_of_a_cycle_is_found() -> None:
    """Of three states in a cycle, the discounted share of time from each on in each is known.

    (1 - g) / (1 - g^3) * g^k after k steps; M is that over the chance of each state in a batch.
    """
    gamma, torch_seed = 0.5, torch.Generator().manual_seed(0)
    forward = torch.nn.Parameter(torch.randn(1, 3, 3, generator=torch_seed))
    backward = torch.nn.Parameter(torch.randn(3, 3, generator=torch_seed))
    optimiser = torch.optim.Adam([forward, backward], lr=0.05)
    states = torch.arange(3).repeat(20)
    for _ in range(500):
        now, after = states, (states + 1) % 3
        loss = fb_loss(forward[:, now], backward[now], forward[:, after].detach(),
                       backward[now].detach(), torch.full((60,), gamma), gamma)  # fmt: skip
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = (forward[0] @ backward.T).detach() / 3
    after = torch.tensor([[(j - i) % 3 for j in range(3)] for i in range(3)])
    expected = (1 - gamma) / (1 - gamma**3) * gamma**after
    # Of pairs of different steps 19 of 59 have one state, and not a third: so much more is found.
    expected = expected * (20 * 59) / (60 * 19)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_the_teacher_follows_and_games_are_not_compared() -> None:
    objective = OneStepFB(dim=4, width=8, encoder=Shape(patch=42), momentum=0.5)
    summary = torch.randn(6, 96, generator=torch.Generator().manual_seed(0))
    given = [Features(part, part[:, None].repeat(1, 4, 1)) for part in (summary, summary.flip(0))]

    def encode(*views: torch.Tensor, by: object = None) -> list[Features]:
        return given[: len(views)]

    objective.encode = encode
    blank, action = torch.zeros(6, 1), torch.zeros(6, 2).long()
    game = torch.tensor([0, 0, 0, 1, 1, 1])
    losses = objective.losses(blank, blank, action, game)
    assert losses.keys() == {"measure", "orthonormal"}
    sum(losses.values()).backward()
    assert objective.teacher_maps.actions.weight.grad is None
    before = objective.teacher_maps.backward_of[0].bias.clone()
    with torch.no_grad():
        objective.maps.backward_of[0].bias += 1
    objective.after_optimizer_step()
    torch.testing.assert_close(objective.teacher_maps.backward_of[0].bias, before + 0.5)
