"""Frozen means frozen; whatever learns, learns; the ways to use an encoder are encoders."""

from __future__ import annotations

import copy

import torch

from agents.adapt import FineTuned, Frozen
from agents.eyes import PICKS, Eyes
from pretrain.vit import Shape, build


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


def test_eyes_pick_what_the_heads_are_given() -> None:
    inner = build(Shape(patch=42)).eval()
    summary, tokens = inner(screens())
    wanted = {
        "summary": summary,
        "tokens_mean": tokens.mean(dim=1),
        "summary_and_mean": torch.cat([summary, tokens.mean(dim=1)], dim=1),
    }
    assert wanted.keys() == PICKS.keys()
    for pick, features in wanted.items():
        frozen, tuned = Eyes(Frozen(inner), pick), Eyes(FineTuned(inner), pick)
        assert frozen.width == tuned.width == features.shape[1]
        held = frozen.observe(screens())
        assert torch.equal(frozen(held), features)
        assert torch.equal(tuned.observe(screens()), screens())
        assert torch.equal(tuned(screens()), features)
