"""Any model of timm as an encoder: its features are timm's own, and so are its folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from fovea.command import UserError
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.timm_model import TimmModel
from fovea.pretrain.encoders.vit import Shape, ViT

# Shape, class, width and places a side.
MODELS = {
    "a CNN": (Shape(timm="convnext_atto"), TimmModel, 320, 2),
    "batch norms": (Shape(timm="resnet10t"), TimmModel, 512, 3),
    "maps with channels last": (Shape(timm="swin_tiny_patch4_window7_224"), TimmModel, 768, 3),
    "a convolutional stem": (Shape(timm="vit_tiny_r_s16_p8_224", crop=64), TimmModel, 192, 2),
    "rotary positions": (Shape(timm="vit_small_patch16_dinov3"), TimmModel, 384, 6),
    "a CLS and a distillation token": (
        Shape(timm="deit_tiny_distilled_patch16_224", crop=80), TimmModel, 192, 5,
    ),
    "registers": (Shape(timm="vit_small_patch14_reg4_dinov2"), ViT, 384, 6),
    "no CLS token": (Shape(timm="vit_pwee_patch16_reg1_gap_256"), ViT, 256, 6),
    "registers of our own": (Shape(registers=4), ViT, 96, 6),
    "attention pooling": (Shape(global_pool="map"), ViT, 96, 6),
    "mean pooling": (Shape(global_pool="avg", patch=8, crop=80), ViT, 96, 10),
}  # fmt: skip
QUICK = ("a CNN", "batch norms", "registers of our own", "attention pooling", "mean pooling")
CASES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MODELS]


def screens(count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 84, 84), generator=generator).to(torch.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_features_are_timms_and_plain_timm_loads_the_folder(name: str, tmp_path: Path) -> None:
    shape, kind, dim, side = MODELS[name]
    encoder = build_encoder(shape, seed=3).eval()
    assert isinstance(encoder, kind)
    assert (encoder.dim, encoder.grid) == (dim, (side, side))
    with torch.no_grad():
        summary, tokens = encoder(screens())
        assert tokens.shape == (2, side * side, dim)
        folder = export_encoder(encoder, tmp_path / "mine", {"method": "none"})
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        pixels = encoder.scale(screens())
        assert torch.equal(model(pixels), summary)
        again = load_encoder(folder)
        for mine, theirs in zip(again(screens()), (summary, tokens), strict=True):
            assert torch.equal(mine, theirs)
        assert type(again) is kind
        # All places, and in their order: what timm's own forward_intermediates returns last.
        maps = model.forward_intermediates(pixels, intermediates_only=True, norm=True)[-1]
        torch.testing.assert_close(tokens, maps.flatten(2).mT, rtol=1e-4, atol=1e-4)


def test_a_head_that_widens_leaves_the_summary_to_the_mean() -> None:
    encoder = build_encoder(Shape(timm="mobilenetv3_small_050")).eval()
    summary, tokens = encoder(screens())
    assert encoder.dim == 288
    torch.testing.assert_close(summary, tokens.mean(dim=1))


def test_blocks_of_a_timm_model_are_its_stages() -> None:
    encoder = build_encoder(Shape(timm="resnet10t")).eval()
    assert encoder.depth == 5
    with torch.no_grad():
        maps = encoder.model.forward_intermediates(encoder.scale(screens()), norm=True)[1]
        for number, one in enumerate(maps, start=1):
            summary, tokens = encoder(screens(), [number])
            assert torch.equal(tokens, one.flatten(2).mT)
            torch.testing.assert_close(summary, one.mean(dim=(2, 3)))


def test_blocks_of_a_vit_are_normed_and_lie_side_by_side() -> None:
    encoder = build_encoder(Shape(registers=2)).eval()
    with torch.no_grad():
        vit, tokens = encoder.vit, encoder.embed(encoder.scale(screens()))
        normed = {}
        for number, block in enumerate(vit.blocks, start=1):
            tokens = block(tokens)
            normed[number] = vit.norm(tokens)
        summary, tokens = encoder(screens(), [4, 2])
    assert torch.equal(tokens, torch.cat([normed[4][:, 3:], normed[2][:, 3:]], dim=2))
    assert torch.equal(summary, torch.cat([normed[4][:, 0], normed[2][:, 0]], dim=1))
    for mine, usual in zip(encoder(screens(), [4]), encoder(screens()), strict=True):
        assert torch.equal(mine, usual)
    with pytest.raises(UserError, match=r"blocks \[0\]: this encoder has blocks 1 to 4"):
        encoder(screens(), [0])


def test_the_trunk_and_what_follows_it_are_the_whole() -> None:
    encoder = build_encoder(Shape()).eval()
    for last in range(5):
        trunk = encoder.trunk(encoder.scale(screens()), last)
        for mine, usual in zip(encoder.attend(trunk, first=last), encoder(screens()), strict=True):
            assert torch.equal(mine, usual)


def test_batch_statistics_are_used_and_recorded_under_gradients_alone() -> None:
    encoder = build_encoder(Shape(timm="resnet10t")).train()
    held = [buffer.clone() for buffer in encoder.buffers()]
    with torch.no_grad():
        acting = encoder(screens()).tokens
    assert all(map(torch.equal, held, encoder.buffers()))
    assert encoder.model.training
    assert torch.equal(acting, encoder.eval()(screens()).tokens)
    encoder.train()(screens())
    assert not all(map(torch.equal, held, encoder.buffers()))


@pytest.mark.slow
def test_weights_are_a_function_of_the_seed() -> None:
    one, same, other = (build_encoder(Shape(timm="resnet10t"), seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, one.state_dict().values(), same.state_dict().values()))
    assert not torch.equal(one(screens()).summary, other(screens()).summary)


MISTAKES = {
    "an unknown model": (Shape(timm="convnext_ato"), "no model 'convnext_ato': did you mean"),
    "a window that does not fit": (Shape(timm="maxvit_rmlp_pico_rw_256"), "gives no features of"),
    "a patch that drops pixels": (Shape(timm="mixer_s32_224"), "patch 32 does not divide the 84"),
    "a crop without need": (Shape(timm="resnet10t", crop=64), "takes any screen, leave it out"),
    "a crop of a CNN": (Shape(size="impala_cnn", crop=64), "impala_cnn sees the whole screen"),
    "an unknown size": (Shape(size="vit_huge"), "or name a model of timm in timm"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line(mistake: str) -> None:
    shape, message = MISTAKES[mistake]
    with pytest.raises(UserError) as refused:
        build_encoder(shape)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_names_of_untrained_encoders() -> None:
    assert load_encoder("random:impala_cnn").dim == 32
    assert load_encoder("random:resnet10t").architecture == "resnet10t"
    with pytest.raises(UserError, match="patch 13 does not divide the 84 px screen"):
        load_encoder("random:patches13")


def test_patches_are_their_pixels() -> None:
    encoder: Encoder = load_encoder("random:patches14")
    summary, tokens = encoder(screens())
    assert (encoder.dim, encoder.grid, tokens.shape) == (784, (6, 6), (2, 36, 784))
    patch = screens()[1, :, 14:28, 70:84].float() / 255  # of the second row, the last
    assert torch.equal(tokens[1, 11], patch.flatten())
    torch.testing.assert_close(summary, tokens.mean(dim=1))
