"""CNNs behind `Encoder`: the published shapes, and folders that give back the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fovea.command import UserError
from fovea.pretrain.encoders.cnn import CNNS, build_cnn
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.probes.references import untrained

MAPS = {"impala_cnn": (32, 11)}  # width, and places a side; the others' are 64 and 7


def screens(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, 84, 84), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("name", CNNS)
def test_a_folder_gives_back_the_same_bits(name: str, tmp_path: Path) -> None:
    encoder = build_cnn(name, seed=3)
    encoder(screens())  # running statistics have moved
    folder = export_encoder(encoder.eval(), tmp_path / "mine", {"method": "none"})
    loaded = load_encoder(folder)
    dim, side = MAPS.get(name, (64, 7))
    assert (loaded.dim, loaded.grid) == (dim, (side, side))
    assert (loaded.stack, loaded.screen) == (4, (84, 84))
    for mine, theirs in zip(encoder(screens()), loaded(screens()), strict=True):
        assert torch.equal(mine, theirs)
    card = (folder / "README.md").read_text()
    assert "timm" not in card
    assert f"{dim}-wide `{encoder.architecture}`" in card


@pytest.mark.parametrize("name", CNNS)
def test_random_is_a_function_of_the_seed_and_the_tokens_lie_on_the_grid(name: str) -> None:
    one, same, other = (load_encoder(f"random:{name}", seed=seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, one.state_dict().values(), same.state_dict().values()))
    features = one(screens())
    dim, side = MAPS.get(name, (64, 7))
    assert features.tokens.shape == (3, side * side, dim)
    torch.testing.assert_close(features.summary, features.tokens.mean(dim=1))
    assert not torch.equal(features.tokens, other(screens()).tokens)
    blank, dot = torch.zeros(2, 1, 4, 84, 84, dtype=torch.uint8)
    dot[..., 80:, 80:] = 255  # in the lower right corner, where the last token is
    moved = (one(blank).tokens - one(dot).tokens).abs().amax(dim=2)[0]
    assert moved[-1] > 0
    if name.startswith("nature"):  # sgi scales its whole map, impala's places see most of it
        assert not moved[:-side].any()


def test_natures_layers_are_the_papers() -> None:
    layers = [x for x in build_cnn("nature_cnn").body if isinstance(x, nn.Conv2d)]
    shapes = [(x.in_channels, x.out_channels, x.kernel_size[0], x.stride[0]) for x in layers]
    assert shapes == [(4, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1)]
    flat = build_cnn("nature_cnn_orthogonal").body[0].weight.flatten(1).detach()
    torch.testing.assert_close(flat @ flat.T, 2 * torch.eye(32), rtol=0, atol=1e-5)


def test_the_resnet_is_scaled_and_keeps_its_statistics_where_nothing_is_learnt() -> None:
    encoder = build_cnn("sgi_resnet").train()
    held = [buffer.clone() for buffer in encoder.buffers()]
    with torch.no_grad():
        acting = encoder(screens()).tokens
    assert all(map(torch.equal, held, encoder.buffers()))
    torch.testing.assert_close(acting.amin((1, 2)), torch.zeros(3))
    torch.testing.assert_close(acting.amax((1, 2)), torch.ones(3), rtol=0, atol=1e-3)
    torch.testing.assert_close(acting, encoder.eval()(screens()).tokens)
    encoder.train()(screens())
    assert not all(map(torch.equal, held, encoder.buffers()))


def test_impalas_layers_are_the_papers() -> None:
    body = build_cnn("impala_cnn").body
    layers = [x for x in body.modules() if isinstance(x, nn.Conv2d)]
    assert [x.out_channels for x in layers] == [16] * 5 + [32] * 10  # 15, as the paper counts
    assert {x.kernel_size for x in layers} == {(3, 3)}
    assert sum(weights.numel() for weights in body.parameters()) == 97_744


@pytest.mark.parametrize("name", CNNS)
def test_blocks_of_a_cnn_are_its_stages_and_the_last_is_the_usual_features(name: str) -> None:
    encoder = build_cnn(name).eval()
    assert encoder.depth == 3
    for mine, usual in zip(encoder(screens(), [3]), encoder(screens()), strict=True):
        assert torch.equal(mine, usual)
    middle = encoder(screens(), [2])
    sides = {"nature_cnn": 9, "impala_cnn": 21, "sgi_resnet": 14}
    assert middle.tokens.shape[1] == sides[encoder.architecture] ** 2
    torch.testing.assert_close(middle.summary, middle.tokens.mean(dim=1))
    with pytest.raises(UserError, match=r"blocks \[2, 3\] of this encoder have .* places, which"):
        encoder(screens(), [2, 3])
    with pytest.raises(UserError, match=r"blocks \[4\]: this encoder has blocks 1 to 3"):
        encoder(screens(), [4])


def test_a_reference_has_the_shape_of_a_cnn() -> None:
    like = build_cnn("nature_cnn")
    assert [p.shape for p in untrained(like, 0).parameters()] == [
        p.shape for p in like.parameters()
    ]


def test_a_cnn_has_no_attention_and_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a CNN has no attention maps"):
        build_cnn("nature_cnn").attention(screens())
    with pytest.raises(UserError, match="unknown encoder size 'nature': choose one of vit_micro"):
        load_encoder("random:nature")


def test_the_files_hold_the_cnns_own_names(tmp_path: Path) -> None:
    folder = export_encoder(build_cnn("nature_cnn"), tmp_path / "mine", {})
    assert set(load_file(folder / "model.safetensors")) == {
        f"conv{number}.{part}" for number in (1, 2, 3) for part in ("weight", "bias")
    }
