"""An encoder takes uint8 screens, sees all of them, and shows where it attends."""

from __future__ import annotations

import math

import pytest
import torch
from timm.layers import set_fused_attn

from fovea.command import UserError
from fovea.pretrain.encoders.vit import SIZES, Shape, build, sincos


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


def test_positions_are_stretched_over_a_crop() -> None:
    encoder = build(Shape())
    with torch.no_grad():  # positions that count the columns, and nothing else that patches hold
        encoder.vit.patch_embed.proj.weight.zero_()
        encoder.vit.patch_embed.proj.bias.zero_()
        encoder.vit.pos_embed[0, 1:] = torch.arange(6.0).repeat(6)[:, None]
        embedded = encoder.embed(torch.zeros(1, 4, 42, 42))[0]
    assert torch.equal(embedded[0], encoder.vit.cls_token[0, 0] + encoder.vit.pos_embed[0, 0])
    rows = embedded[1:, 0].reshape(3, 3)
    torch.testing.assert_close(rows, rows[:1].expand(3, 3))
    # Two columns become one; the filter is wider than two, so the border draws the ends in a bit.
    torch.testing.assert_close(rows[0], torch.tensor([0.5, 2.5, 4.5]), rtol=0, atol=0.2)
    assert rows[0, 1] == pytest.approx(2.5)


def test_crops_are_encoded_whatever_their_size() -> None:
    encoder = build(Shape()).eval()
    summary, tokens = encoder.encode_crops(screens(2, side=42))
    assert (summary.shape, tokens.shape) == ((2, 96), (2, 9, 96))


def test_crops_that_patches_do_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match="patch 14 does not divide crops of 40 x 40 px"):
        build(Shape()).encode_crops(screens(1, side=40))


def test_sincos_positions_by_hand() -> None:
    positions = sincos(2, 3, 8)  # frequencies 1 and 1/100
    assert positions.shape == (6, 8)
    column, row = 2.0, 1.0
    wanted = [wave(place * frequency) for place in (column, row)
              for wave in (math.sin, math.cos) for frequency in (1.0, 0.01)]  # fmt: skip
    assert positions[1 * 3 + 2].tolist() == pytest.approx(wanted)
    assert positions[0].tolist() == [0, 0, 1, 1] * 2
    assert (positions.norm(dim=1) ** 2).tolist() == pytest.approx([4] * 6)


def test_sincos_positions_are_an_initial_value_of_the_patches_alone() -> None:
    encoder = build(Shape(positions="sincos"), seed=3)
    assert torch.equal(encoder.vit.pos_embed[0, 1:], sincos(6, 6, 96))
    assert not encoder.vit.pos_embed[0, 0].any()
    usual = build(Shape(), seed=3).vit.state_dict()
    for name, weight in encoder.vit.state_dict().items():
        assert name == "pos_embed" or torch.equal(weight, usual[name])


def test_a_patch_gain_multiplies_the_patch_weights_alone() -> None:
    usual, loud = (build(Shape(patch_gain=gain)).vit.state_dict() for gain in (1.0, 4.0))
    for name, weight in loud.items():
        factor = 4 if name == "patch_embed.proj.weight" else 1
        assert torch.equal(weight, factor * usual[name])


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_every_size_encodes(size: str) -> None:
    encoder = build(Shape(size=size, patch=42)).eval()
    assert encoder(screens(1)).tokens.shape == (1, 4, encoder.dim)
