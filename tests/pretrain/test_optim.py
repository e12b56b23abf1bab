"""The rate's course, and what is decayed."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from fovea.pretrain.optim import LARS, Optimisation, configure, cosine, decay, rate


def test_the_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    course = [rate(step, warmup=4, steps=12) for step in range(13)]
    assert course[:4] == [0.25, 0.5, 0.75, 1.0]
    assert course[4] == 1.0
    assert course[8] == pytest.approx(0.5)
    assert course[12] == pytest.approx(0.0)


def test_without_warmup_it_starts_at_its_peak() -> None:
    assert rate(0, warmup=0, steps=10) == 1.0


@pytest.mark.parametrize(("first", "last"), [(0.996, 1.0), (0.04, 0.4)])
def test_a_half_cosine_reaches_both_ends_and_is_steepest_between(first, last) -> None:
    assert cosine(first, last, 0.0) == pytest.approx(first, abs=1e-12)
    assert cosine(first, last, 0.5) == pytest.approx((first + last) / 2)
    assert cosine(first, last, 1.0) == last
    course = [cosine(first, last, share / 10) for share in range(11)]
    assert course == sorted(course)
    assert course[1] - course[0] < (course[6] - course[5]) / 4


def test_the_weight_decay_goes_to_its_last_value_where_there_is_one() -> None:
    module = nn.Linear(2, 2)
    for last, course in ((0.4, (0.04, 0.22, 0.4)), (None, (0.04, 0.04, 0.04))):
        how = Optimisation(weight_decay=0.04, last_weight_decay=last)
        optimiser = configure(module, how, 10)["optimizer"]
        for done, wanted in zip((0.0, 0.5, 1.0), course, strict=True):
            decay(optimiser, how, done)
            weights, vectors = (group["weight_decay"] for group in optimiser.param_groups)
            assert weights == pytest.approx(wanted)
            assert vectors == 0


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("lars", LARS)])
def test_only_weights_are_decayed_and_frozen_ones_left_out(name: str, kind: type) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    module[0].weight.requires_grad_(False)
    module.append(nn.Linear(4, 2))
    optimiser = configure(module, Optimisation(name=name, weight_decay=0.3), 10)["optimizer"]
    assert isinstance(optimiser, kind)
    decayed, rest = optimiser.param_groups
    assert decayed["weight_decay"] == 0.3
    assert rest["weight_decay"] == 0.0
    assert [p.shape for p in decayed["params"]] == [(2, 4)]
    assert all(p.ndim == 1 for p in rest["params"])


def test_lars_leaves_a_zero_weight_with_its_plain_gradient() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    LARS([weight], lr=0.5).step()
    assert torch.equal(weight.detach(), torch.full((2, 2), -0.5))


def test_gradients_are_clipped_in_mixed_precision_too() -> None:
    """Lightning refuses to clip those of an optimiser that says it unscales them itself."""
    module = nn.Linear(2, 2)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    optimiser = configure(module, Optimisation(), 10)["optimizer"]
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimiser, 1.0)
    norm = torch.cat([parameter.grad.flatten() for parameter in module.parameters()]).norm()
    assert norm.item() == pytest.approx(1, abs=1e-4)
