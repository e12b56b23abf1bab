"""Attention maps are those of the CLS token, in grid order, over what the encoder sees."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fovea.pretrain.encoders.vit import Shape, ViT, build
from fovea.probes import attention
from fovea.probes.features import NotMeasured, Splits
from fovea.probes.references import Pixels


def test_rollout_of_two_blocks_by_hand() -> None:
    # One screen, two heads in the first block (mean [[.5, .5], [0, 1]]), two in the second
    # (mean [[1, 0], [.5, .5]]). With the identity: [[.75, .25], [0, 1]], [[1, 0], [.25, .75]].
    first = [[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]
    second = [[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]
    rolled = attention.rollout(torch.tensor([[first], [second]]))
    expected = torch.tensor([[[0.75, 0.25], [0.1875, 0.8125]]])
    torch.testing.assert_close(rolled, expected)


def test_a_head_that_looks_evenly_has_the_motions_area(seen: dict[str, Splits]) -> None:
    encoder = build(Shape(patch=28, stack=2)).eval()
    with torch.no_grad():
        for block in encoder.vit.blocks:
            block.attn.qkv.weight.zero_()
            block.attn.qkv.bias.zero_()
    # Distances in a grid of 3 x 3 patches of 28 px: of 81 pairs 9 are 0 apart, 24 one patch,
    # 16 one along the diagonal, 12 two patches, 16 a knight's move, 4 two along the diagonal.
    steps = 24 + 16 * 2**0.5 + 12 * 2 + 16 * 5**0.5 + 4 * 8**0.5
    for row in attention.measure(encoder, "pong", seen["pong"].test, 64):
        block, head, entropy, on_motion, area, on_objects, object_area, distance = row
        assert (block, head) in {(b, h) for b in range(4) for h in range(3)}
        assert entropy == pytest.approx(math.log(9), rel=1e-5)
        assert on_motion == pytest.approx(area, rel=1e-5)
        assert 0 < area < 1
        assert on_objects == pytest.approx(object_area, rel=1e-5)
        assert 0 < object_area < 1
        assert distance == pytest.approx(28 * steps / 81, rel=1e-5)


def test_patches_that_move_stand_in_grid_order(encoder: ViT) -> None:
    screens = torch.zeros(2, 2, 84, 84, dtype=torch.uint8)
    screens[0, 1, 30, 60] = 6  # row 1, column 2 of the grid
    screens[1, :, 30, 60] = 200  # bright, but the same in both screens
    screens[1, 1, 0, 0] = 4  # too little
    assert attention.moving(encoder, screens).nonzero().tolist() == [[0, 1 * 3 + 2]]


def test_maps_are_the_cls_rows(encoder: ViT, seen: dict[str, Splits]) -> None:
    split = seen["pong"].test
    screens, maps, rolled = attention.picture(encoder, split, 5)
    assert (screens.shape, maps.shape, rolled.shape) == ((5, 84, 84), (2, 2, 5, 3, 3), (5, 3, 3))
    at = attention.in_a_row(split, 2, 5)
    assert torch.equal(screens, split.frames.screens[at])
    with torch.inference_mode():
        whole = encoder.attention(split.frames.windows(at, 2)[:, 0])
    for row, column in np.ndindex(3, 3):
        token = 1 + 3 * row + column
        assert torch.equal(maps[..., row, column], whole[:, :, :, 0, token].transpose(1, 2))
        torch.testing.assert_close(rolled[:, row, column], attention.rollout(whole)[:, 0, token])


def test_pictures_show_the_middle_that_a_cropping_encoder_sees(seen: dict[str, Splits]) -> None:
    encoder = build(Shape(patch=20, stack=2, crop=80)).eval()
    split = seen["pong"].test
    screens, maps, _ = attention.picture(encoder, split, 2)
    assert maps.shape[-2:] == (4, 4)
    at = attention.in_a_row(split, 2, 2)
    assert torch.equal(screens, split.frames.screens[at, 2:82, 2:82])


def test_pictures_are_steps_of_one_episode_in_a_row(seen: dict[str, Splits]) -> None:
    for split in (of.test for of in seen.values()):
        at = attention.in_a_row(split, 2, 24)
        assert at.diff().tolist() == [1] * 23
        assert len(split.frames.episode[at].unique()) == 1
        assert split.at[len(split.at) // 2] in at


def test_a_short_episode_is_shown_from_its_first_whole_stack(seen: dict[str, Splits]) -> None:
    split = seen["pong"].test
    first = torch.arange(5)
    short = replace(split.frames, episode=torch.arange(len(split.frames)) // 5)
    assert attention.in_a_row(split._replace(frames=short, at=first[4:]), 2, 24).tolist() == [
        1,
        2,
        3,
        4,
    ]


def test_where_nothing_moves_the_share_on_motion_is_left_open(
    encoder: ViT, seen: dict[str, Splits]
) -> None:
    split = seen["pong"].test
    still = split.frames.screens.clone()
    still[:] = still[0]
    labels = split.frames.labels | {"ram": split.frames.labels["ram"].clone().zero_()}
    labels["ram"][:, [51, 50, 54]] = 255  # all objects are below the field
    split = split._replace(frames=replace(split.frames, screens=still, labels=labels))
    for row in attention.measure(encoder, "pong", split, 8):
        assert row[2] > 0
        assert all(math.isnan(number) for number in row[3:7])


def test_all_blocks_heads_and_games_are_told(encoder: ViT, seen: dict[str, Splits]) -> None:
    found = attention.probe(encoder, seen, pictures=3, stacks_measured=16)
    heads = [tuple(row[:3]) for row in found.tables[0].rows]
    assert heads == [(g, b, h) for g in ("breakout", "pong") for b in (0, 1) for h in (0, 1)]
    assert found.arrays["game"] == ["breakout"] * 3 + ["pong"] * 3
    assert found.arrays["maps"].shape == (2, 2, 6, 3, 3)


def test_an_encoder_without_patches_is_left_out(seen: dict[str, Splits]) -> None:
    with pytest.raises(NotMeasured, match="no grid of patches"):
        attention.probe(Pixels(2, (84, 84)), seen)
