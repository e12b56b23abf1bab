"""An encoder takes uint8 screens, sees all of them, and shows where it attends."""

from __future__ import annotations

import pytest
import torch
from timm.layers import set_fused_attn

from atari.command import UserError
from pretrain.vit import SIZES, Shape, build


def screens(count: int = 2, stack: int = 4, side: int = 84) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, stack, side, side), generator=generator).to(torch.uint8)


def test_a_summary_and_a_grid_of_tokens() -> None:
    encoder = build(Shape()).eval()
    summary, tokens = encoder(screens())
    assert summary.shape == (2, 96)
    assert tokens.shape == (2, 36, 96)
    assert (encoder.dim, encoder.grid, encoder.stack, encoder.screen) == (96, (6, 6), 4, (84, 84))


def test_tokens_stand_in_grid_order_rows_first() -> None:
    encoder = build(Shape()).eval()
    black, spot = torch.zeros(2, 1, 4, 84, 84, dtype=torch.uint8)
    spot[..., 2 * 14 : 3 * 14, 4 * 14 : 5 * 14] = 255
    embedded = [encoder.vit.patch_embed(encoder.scale(image)) for image in (black, spot)]
    changed = (embedded[0] != embedded[1]).any(-1).nonzero()
    assert changed.tolist() == [[0, 2 * 6 + 4]]


def test_pixels_are_scaled_to_one_inside() -> None:
    encoder = build(Shape())
    assert encoder.scale(torch.full((1, 4, 84, 84), 255, dtype=torch.uint8)).unique() == 1


def test_attention_is_what_the_unfused_block_computes() -> None:
    set_fused_attn(False)
    try:
        encoder = build(Shape()).eval()
    finally:
        set_fused_attn(True)
    seen = []
    for block in encoder.vit.blocks:
        block.attn.attn_drop.register_forward_hook(lambda _m, _i, out: seen.append(out))
    maps = encoder.attention(screens())
    assert maps.shape == (4, 2, 3, 37, 37)
    torch.testing.assert_close(maps, torch.stack(seen), rtol=0, atol=1e-6)
    torch.testing.assert_close(maps.sum(-1), torch.ones(4, 2, 3, 37))


def test_attention_leaves_no_hooks_behind() -> None:
    encoder = build(Shape()).eval()
    encoder.attention(screens(1))
    assert not any(block.attn.qkv._forward_hooks for block in encoder.vit.blocks)


@pytest.mark.parametrize("wrong", [
    screens().float(), screens(stack=3), screens(side=80), screens()[0],
])  # fmt: skip
def test_other_screens_are_refused_by_name(wrong: torch.Tensor) -> None:
    with pytest.raises(UserError, match=r"takes uint8 screens \(batch, 4, 84, 84\), not"):
        build(Shape())(wrong)


def test_a_patch_that_drops_pixels_is_refused_with_the_fix() -> None:
    with pytest.raises(UserError, match=r"patch 8 does not divide the 84 px.*crop: 80"):
        build(Shape(patch=8))


def test_a_crop_that_is_said_sees_the_middle_only() -> None:
    encoder = build(Shape(patch=8, crop=80)).eval()
    assert encoder.grid == (10, 10)
    images = screens(1)
    margin = images.clone()
    margin[..., :2, :] = margin[..., -2:, :] = margin[..., :2] = margin[..., -2:] = 7
    assert torch.equal(encoder(images).summary, encoder(margin).summary)


def test_an_unknown_size_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="'vit_huge': choose one of vit_micro"):
        build(Shape(size="vit_huge"))


def test_weights_are_a_function_of_the_seed_alone() -> None:
    first = build(Shape(), seed=3)
    torch.rand(7)
    again, other = build(Shape(), seed=3), build(Shape(), seed=4)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert not torch.equal(first.vit.pos_embed, other.vit.pos_embed)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_encodes(size: str) -> None:
    encoder = build(Shape(size=size, patch=42)).eval()
    assert encoder(screens(1)).tokens.shape == (1, 4, encoder.dim)
