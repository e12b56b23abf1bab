"""Encoders in other programs: torch.export, TorchScript, ONNX, timm and transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.models import save_for_hf

from fovea.command import UserError
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.multi_query import MultiQueryShape
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.hub import run

KINDS = {
    "vit": Shape(patch=42),
    "registers": Shape(patch=42, registers=2, read_out=MultiQueryShape(2, 5)),
    "crop": Shape(patch=40, crop=80),
    "nature_cnn": Shape(size="nature_cnn"),
    "convnext": Shape(timm="test_convnext"),
}
OTHERS = [pytest.param(kind, marks=pytest.mark.evidence) for kind in KINDS if kind != "vit"]
EACH = pytest.mark.parametrize("kind", ["vit", *OTHERS])
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return export_encoder(
        build_encoder(Shape(patch=42), seed=3), tmp_path / "mine", {"games": ["pong"]}
    )


def screens(count: int, stack: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, stack, 84, 84), generator=generator).to(torch.uint8)


def assert_same(found, encoder: Encoder, images: torch.Tensor) -> None:
    with torch.no_grad():
        for its, ours in zip(found, encoder(images), strict=True):
            torch.testing.assert_close(torch.as_tensor(its), ours, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@EACH
def test_an_exported_program_takes_any_batch(kind: str) -> None:
    encoder = build_encoder(KINDS[kind]).eval()
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(encoder, (screens(2),), dynamic_shapes={"screens": batch})
    assert_same(program.module()(screens(5)), encoder, screens(5))


@pytest.mark.slow
@EACH
def test_a_trace_takes_any_batch(kind: str) -> None:
    encoder = build_encoder(KINDS[kind]).eval()
    with torch.no_grad():
        traced = torch.jit.trace(encoder, (screens(2),))
    assert_same(traced(screens(5)), encoder, screens(5))


@pytest.mark.slow
@EACH
def test_onnx_is_what_the_encoder_is(kind: str, tmp_path: Path, capsys) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    encoder = build_encoder(KINDS[kind]).eval()
    export_encoder(encoder, tmp_path / "mine", {})
    run(["export", str(tmp_path / "mine"), "--onnx", str(tmp_path / "mine.onnx")])
    assert "checked in onnxruntime" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "mine.onnx")
    for count in (1, 7):
        found = session.run(["summary", "tokens"], {"screens": screens(count).numpy()})
        assert_same(found, encoder, screens(count))


def test_timm_with_the_mean_of_all_tokens(folder: Path) -> None:
    """timm would normalise after its mean: `fc_norm=False` keeps the norm where it was trained."""
    model = timm.create_model(
        f"local-dir:{folder}", pretrained=True, global_pool="avg", fc_norm=False
    ).eval()
    encoder, images = load_encoder(folder), screens(3)
    with torch.no_grad():
        torch.testing.assert_close(model(images / 255), encoder(images).tokens.mean(dim=1))


def test_timm_with_single_screens(folder: Path) -> None:
    """timm makes 1 channel of 3 alone: the four kernels are added by hand, which is exact."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    encoder, single = load_encoder(folder), screens(3, stack=1)
    kernel = model.patch_embed.proj.weight
    model.patch_embed.proj.weight = torch.nn.Parameter(kernel.sum(dim=1, keepdim=True))
    with torch.no_grad():
        still = encoder(single.expand(-1, 4, -1, -1))
        torch.testing.assert_close(model(single / 255), still.summary, rtol=1e-4, atol=1e-4)


def test_timm_features_only(folder: Path) -> None:
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, features_only=True).eval()
    encoder, images = load_encoder(folder), screens(3)
    with torch.no_grad():
        maps = model(images / 255)
        last = encoder.vit.forward_intermediates(images / 255, intermediates_only=True)[-1]
    assert maps[-1].shape == (3, 96, 2, 2)
    assert torch.equal(maps[-1], last)


def tuned(folder: Path, classes: int = 5) -> torch.nn.Module:
    """A classifier on the encoder, after a step of training."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=classes)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.nn.functional.cross_entropy(model(screens(4) / 255), torch.arange(4)).backward()
    optimiser.step()
    return model.eval()


@pytest.mark.slow
def test_what_timm_saved_comes_back(folder: Path, tmp_path: Path) -> None:
    model = tuned(folder)
    save_for_hf(model, tmp_path / "tuned", safe_serialization=True)
    run(["adopt", str(tmp_path / "tuned"), "--out", str(tmp_path / "again")])
    again, images = load_encoder(tmp_path / "again"), screens(3)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images / 255), pre_logits=True)
        assert torch.equal(again(images).summary, expected)
        assert not torch.equal(load_encoder(folder)(images).summary, expected)


@pytest.mark.slow
def test_a_model_made_by_timm_is_adopted(tmp_path: Path) -> None:
    how = {"img_size": 84, "patch_size": 14, "in_chans": 4}
    model = timm.create_model("test_vit", num_classes=3, **how).eval()
    save_for_hf(model, tmp_path / "own", safe_serialization=True)
    arguments = ["adopt", str(tmp_path / "own"), "--out", str(tmp_path / "mine")]
    with pytest.raises(UserError, match="--ignore-normalization"):
        run(arguments)
    run([*arguments, "--ignore-normalization"])
    encoder, images = load_encoder(tmp_path / "mine"), screens(2)
    with torch.no_grad():
        features = model.forward_features(images / 255)
        assert torch.equal(encoder(images).tokens, features[:, model.num_prefix_tokens :])


def test_what_cannot_be_adopted_is_named(folder: Path, tmp_path: Path) -> None:
    def adopt(source: Path) -> str:
        with pytest.raises(UserError) as refused:
            run(["adopt", str(source), "--out", str(tmp_path / "out")])
        assert not (tmp_path / "out").exists()
        assert "\n" not in str(refused.value)
        return str(refused.value)

    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert "holds no config.json" in adopt(tmp_path)
    save_for_hf(model, tmp_path / "pickled")
    assert "pytorch_model.bin is a pickle" in adopt(tmp_path / "pickled")
    save_for_hf(model, tmp_path / "other", safe_serialization=True,
                model_args={"embed_dim": 48})  # fmt: skip
    assert "weight 'blocks" in adopt(tmp_path / "other")
    with torch.no_grad():
        model.cls_token.fill_(float("nan"))
    save_for_hf(model, tmp_path / "nan", safe_serialization=True)
    assert "NaN" in adopt(tmp_path / "nan")


@pytest.mark.slow
def test_transformers_does_what_the_card_says(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    encoder, images = load_encoder(folder), screens(3)
    with torch.no_grad():
        found = model(pixel_values=images / 255)
        summary, tokens = encoder(images)
    assert torch.equal(found.pooler_output, summary)
    assert torch.equal(found.last_hidden_state[:, 1:], tokens)
    assert "AutoModel.from_pretrained" in (folder / "README.md").read_text()


def test_float_pixels_have_gradients(folder: Path) -> None:
    encoder, images = load_encoder(folder), screens(2)
    pixels = (images / 255).requires_grad_()
    found = encoder.encode_pixels(pixels)
    assert torch.equal(found.summary, encoder(images).summary)
    found.summary[:, 0].sum().backward()  # all of a layer norm add up to a constant
    assert (pixels.grad != 0).any()
    fix = r"float pixels in .0, 1. go to encode_pixels, an agent's q_values and action_probabil"
    with pytest.raises(UserError, match=fix):
        encoder(pixels)
    with pytest.raises(UserError, match="divide uint8 screens by 255"):
        encoder.encode_pixels(images.float())
    of_blocks = encoder.encode_pixels(pixels.detach(), blocks=[1, 4])
    assert np.array_equal(of_blocks.tokens.detach(), encoder(images, blocks=[1, 4]).tokens.detach())
