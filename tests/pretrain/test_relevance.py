"""Relevance is Chefer's, worked by hand; what weights do not decide, it would not show."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fovea.command import UserError
from fovea.pretrain.encoders.attribution import attribute, best, last_map
from fovea.pretrain.encoders.build import untrained
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.relevance import relevance
from fovea.pretrain.encoders.vit import Shape, ViT, build

FIRST = torch.zeros(1, dtype=torch.int64)


def two_patches(blocks: int) -> ViT:
    """The CLS token (0, 0) and two patches with their brightness b as (b, 0).

    Every head attends evenly, a third each, to values that are the tokens; there is no MLP and no
    norm, so that a block adds the mean of all tokens to each.
    """
    args = {"img_size": [2, 4], "patch_size": 2, "in_chans": 1, "embed_dim": 2, "num_heads": 1}
    vit = ViT("vit_tiny_patch16_224", args | {"depth": blocks, "global_pool": "token"}, (2, 4))
    with torch.no_grad():
        for weight in vit.parameters():
            weight.zero_()
        vit.vit.patch_embed.proj.weight[0] = 0.25
        for block in vit.vit.blocks:
            block.attn.qkv.weight[4:] = torch.eye(2)
            block.attn.proj.weight.copy_(torch.eye(2))
            block.norm1 = nn.Identity()
    vit.vit.norm = nn.Identity()
    return vit.eval()


def pixels(left: float, right: float) -> Tensor:
    return torch.tensor([[[[left, left, right, right]] * 2]])


def summary(encoder: Encoder) -> Callable[[Tensor], Tensor]:
    return lambda screens: encoder.encode_pixels(screens).summary


def test_one_block_by_hand() -> None:
    # y is the first number of CLS: (0 + 0.6 + 0.3) / 3. Its gradient to CLS's attention is the
    # value attended to: times the attention of a third, 0.2 and 0.1.
    vit = two_patches(blocks=1)
    outputs = summary(vit)
    assert float(outputs(pixels(0.6, 0.3)).detach()[0, 0]) == pytest.approx(0.3)
    found = relevance(vit, outputs, pixels(0.6, 0.3), FIRST)
    torch.testing.assert_close(found, torch.tensor([[[0.2, 0.1]]]))
    # What speaks against y has none.
    opposite = relevance(vit, lambda x: -outputs(x), pixels(0.6, 0.3), FIRST)
    assert torch.equal(opposite, torch.zeros(1, 1, 2))


def test_two_blocks_by_hand() -> None:
    # After the first block the tokens are 0.3, 0.9, 0.6, and y = 0.3 + 1.8 / 3. Second block: y's
    # gradient to CLS's row is 0.3, 0.9, 0.6, so its mixing is 0.1, 0.3, 0.2. First block: what each
    # token brings y is 1 + 1/3 for CLS (kept and attended to) and 1/3 for a patch; times values
    # 0, 0.6, 0.3 and a third: CLS's row 0, 4/15, 2/15, a patch's row 0, 1/15, 1/30.
    # CLS's row of (1 + first) after (1 + second), patches: second + (1.1, 0.3, 0.2) times first.
    vit = two_patches(blocks=2)
    found = relevance(vit, summary(vit), pixels(0.6, 0.3), FIRST)
    left = 0.3 + 1.1 * 4 / 15 + 0.5 / 15
    right = 0.2 + 1.1 * 2 / 15 + 0.5 / 30
    torch.testing.assert_close(found, torch.tensor([[[left, right]]]))


def test_patches_that_are_read_themselves_count_by_what_they_move() -> None:
    # y = 3 times the left patch minus the right one, of blocks side by side that change nothing.
    vit = two_patches(blocks=2)
    with torch.no_grad():
        for block in vit.vit.blocks:
            block.attn.proj.weight.zero_()
    weights = torch.tensor([[3.0], [-1.0]])

    def outputs(screens: Tensor) -> Tensor:
        return vit.encode_pixels(screens, (1,)).tokens[:, :, 0] @ weights

    found = relevance(vit, outputs, pixels(0.2, 0.6), FIRST)
    torch.testing.assert_close(found, torch.tensor([[[0.5, 0.5]]]))
    # Beside a background that has the right patch, only the left one is something new.
    found = relevance(vit, outputs, pixels(0.2, 0.6), FIRST, pixels(0.0, 0.6)[0])
    torch.testing.assert_close(found, torch.tensor([[[1.0, 0.0]]]))


def literally(vit: ViT, screens: Tensor, target: int) -> Tensor:
    """Chefer et al. 2021, eq. 5 and 6, with whole matrices, one screen at a time."""
    rows = []
    for screen in screens:
        kept: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: tuple, output: Tensor, kept=kept) -> None:
            output.retain_grad()
            kept.append(output)

        handles = []
        for block in vit.vit.blocks:
            block.attn.fused_attn = False
            handles.append(block.attn.attn_drop.register_forward_hook(keep))
        vit.encode_pixels(screen[None].requires_grad_()).summary[0, target].backward()
        whole = torch.eye(kept[0].shape[-1])
        for one in kept:
            whole = whole + (one.grad * one).clamp(min=0).mean(1)[0] @ whole
        rows.append(whole[0, 1:].detach().unflatten(0, vit.grid))
        for handle in handles:
            handle.remove()
    return torch.stack(rows)


def test_a_whole_vit_has_the_relevance_of_the_published_rule() -> None:
    vit = build(Shape(patch=28, stack=2), seed=3).eval()
    vit.requires_grad_(False)
    screens = torch.rand(3, 2, 84, 84)
    target = torch.tensor([5, 5, 5])
    found = relevance(vit, summary(vit), screens, target)
    torch.testing.assert_close(found, literally(vit, screens, 5), rtol=1e-4, atol=1e-7)
    assert found.min() >= 0
    assert found.max() > 0


def test_relevance_is_that_of_the_weights() -> None:
    """Adebayo et al. 2018 (arXiv 1810.03292): with other weights the map is another one."""
    vit = build(Shape(patch=14), seed=0).eval()
    screens = torch.randint(0, 256, (6, 4, 84, 84), generator=torch.manual_seed(0)).byte()
    before = attribute(vit, summary(vit), screens).flatten(1)
    again = attribute(vit, summary(vit), screens).flatten(1)
    assert torch.equal(before, again)
    with torch.no_grad():
        for block in vit.vit.blocks:
            block.attn.qkv.weight.normal_(std=0.1)
    after = attribute(vit, summary(vit), screens).flatten(1)
    for pair in zip(before, after, strict=True):
        assert torch.corrcoef(torch.stack(pair))[0, 1] < 0.5


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("nature_cnn", None),
        ("vit_micro", "integrated_gradients"),
        pytest.param("nature_cnn", "occlusion", marks=pytest.mark.evidence),
        pytest.param("vit_micro", None, marks=pytest.mark.evidence),
        pytest.param("vit_micro", "occlusion", marks=pytest.mark.evidence),
        pytest.param("nature_cnn", "integrated_gradients", marks=pytest.mark.evidence),
    ],
)
def test_where_one_place_decides_every_method_finds_it(name: str, method: str | None) -> None:
    """One place of the last map, of a screen that is empty but for a square there."""
    pytest.importorskip("captum")
    encoder = untrained(name).eval()
    rows, columns = encoder.grid
    at = (rows // 2) * columns + columns // 3
    screens = torch.zeros(2, 4, 84, 84, dtype=torch.uint8)
    screens[:, :, 36:48, 24:36] = 255

    def outputs(pixels: Tensor) -> Tensor:
        return encoder.encode_pixels(pixels).tokens[:, at].square().sum(1, keepdim=True)

    maps = attribute(encoder, outputs, screens, method=method)
    assert maps.min() >= 0
    for one in maps:
        row, column = divmod(int(one.argmax()), one.shape[1])
        assert abs((row + 0.5) / one.shape[0] - 0.5) <= 0.15
        assert abs((column + 0.5) / one.shape[1] - 0.36) <= 0.15


def test_what_does_not_apply_is_said() -> None:
    cnn, patches = untrained("nature_cnn"), untrained("patches42")
    screens = torch.zeros(1, 4, 84, 84, dtype=torch.uint8)
    assert (best(cnn), best(untrained("vit_micro"))) == ("grad_cam", "relevance")
    assert last_map(cnn) is cnn.body
    with pytest.raises(UserError, match="relevance is for ViTs, not for a nature_cnn"):
        attribute(cnn, summary(cnn), screens, method="relevance")
    with pytest.raises(UserError, match="a patches has none: take occlusion"):
        attribute(patches, summary(patches), screens)
