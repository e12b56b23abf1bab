"""Frozen means frozen; whatever learns, learns; the ways to use an encoder are encoders."""

from __future__ import annotations

import copy

import torch

from fovea.agents.adaptation.base import FineTuned, Frozen
from fovea.pretrain.encoders.vit import Shape, build


def screens(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 84, 84), generator=generator).to(torch.uint8)


def test_a_frozen_encoder_stays_in_eval_mode_without_gradients_and_is_shared() -> None:
    inner = build(Shape(patch=42))
    frozen = Frozen(inner)
    outer = torch.nn.Sequential(frozen).train()
    assert not any(module.training for module in frozen.modules())
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not frozen(screens()).summary.requires_grad
    assert copy.deepcopy(outer)[0] is frozen


def test_the_ways_are_the_encoder_they_are_around() -> None:
    inner = build(Shape(patch=42)).eval()
    for adapted in (Frozen(inner), FineTuned(inner)):
        assert (adapted.dim, adapted.grid, adapted.stack) == (96, (2, 2), 4)
        for ours, theirs in zip(adapted(screens()), inner(screens()), strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(adapted.attention(screens()), inner.attention(screens()))
