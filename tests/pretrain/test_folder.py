"""Encoder folders: what is loaded is what was exported, or it is refused and said why."""

from __future__ import annotations

import json
import os
import pickle
import tarfile
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from fovea.command import UserError
from fovea.files import sha256
from fovea.pretrain import hub
from fovea.pretrain.encoders.build import build_encoder
from fovea.pretrain.encoders.folder import export_encoder, load_encoder
from fovea.pretrain.encoders.multi_query import MultiQueryShape
from fovea.pretrain.encoders.vit import Shape, ViT, build
from fovea.pretrain.hub import FILES, READ_OUT

FACTS = {"method": "VICReg", "games": ["pong", "breakout"], "samples": 1280}


@pytest.fixture
def encoder() -> ViT:
    return build(Shape(), seed=5).eval()


@pytest.fixture
def folder(encoder: ViT, tmp_path: Path) -> Path:
    return export_encoder(encoder, tmp_path / "mine", FACTS)


def screens(stack: int = 4) -> torch.Tensor:
    return torch.randint(0, 256, (3, stack, 84, 84)).to(torch.uint8)


def seal(folder: Path, *more: str) -> None:
    """Write the sums anew, as somebody who changes a folder on purpose would."""
    sums = "".join(f"{sha256(folder / name)}  {name}\n" for name in (*FILES, *more))
    (folder / "SHA256SUMS").write_text(sums)


def reweigh(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    seal(folder)


def test_loads_bit_equal(encoder: ViT, folder: Path) -> None:
    images = screens()
    for mine, theirs in zip(encoder(images), load_encoder(folder)(images), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [
    Shape(), Shape(patch=12, stack=1), Shape(patch=8, stack=3, crop=80), Shape(size="vit_tiny"),
    Shape(positions="sincos", patch_gain=4),
])  # fmt: skip
def test_plain_timm_loads_the_same_bits(shape: Shape, tmp_path: Path) -> None:
    encoder = build(shape).eval()
    folder = export_encoder(encoder, tmp_path / "mine", FACTS)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = encoder.scale(screens(shape.stack))
    with torch.no_grad():
        assert torch.equal(model(images), encoder.encode(images).summary)


def test_a_run_folder_stands_for_its_encoder(encoder: ViT, tmp_path: Path) -> None:
    export_encoder(encoder, tmp_path / "run" / "encoder", FACTS)
    assert torch.equal(load_encoder(tmp_path / "run").vit.pos_embed, encoder.vit.pos_embed)


def test_random_needs_no_folder() -> None:
    assert load_encoder("random:vit_micro").dim == 96
    with pytest.raises(UserError, match="vit_nano"):
        load_encoder("random:vit_nano")


def test_a_loaded_encoder_is_ready_to_look(folder: Path) -> None:
    assert not load_encoder(folder).training


def test_the_card_says_how_it_came_to_be(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert "library_name: timm" in card
    assert "| games | pong, breakout |" in card


def flip_byte(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def set_nan(weights: dict) -> None:
    weights["norm.weight"][0] = float("nan")


def rewrite_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    seal(folder)


def other_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    rewrite_config(folder, model_args=config["model_args"] | {"embed_dim": 48})


def elsewhere(folder: Path) -> None:
    """Weights that timm would load, a pickle: see `test_no_code_in_a_folder_is_run`."""
    config = json.loads((folder / "config.json").read_text())
    canary = str(folder.parent / "pickle.pth")
    rewrite_config(folder, model_args=config["model_args"] | {"checkpoint_path": canary})


def link_out(folder: Path) -> None:
    """A link to a file that has the right hash."""
    weights = folder / "model.safetensors"
    weights.rename(folder.parent / "elsewhere")
    weights.symlink_to("../elsewhere")


def name_in_sums(folder: Path, name: str) -> None:
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")


def write_weights(folder: Path, content: bytes, sealed: bool = True) -> None:
    (folder / "model.safetensors").write_bytes(content)
    if sealed:
        seal(folder)


def header(text: bytes) -> bytes:
    """A safetensors file of a header alone."""
    return len(text).to_bytes(8, "little") + text


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
DAMAGES = {
    "a flipped byte": (flip_byte, "model.safetensors does not match its SHA-256"),
    "a dropped key": (
        lambda folder: reweigh(folder, lambda w: w.pop("norm.bias")),
        "weight 'norm.bias' is missing in model.safetensors",
    ),
    "an extra key": (
        lambda folder: reweigh(folder, lambda w: w.update(extra=torch.zeros(1))),
        "weight 'extra' is",
    ),
    "NaN": (lambda folder: reweigh(folder, set_nan), "'norm.weight' holds NaN"),
    "a changed config": (other_width, "the two do not belong together"),
    "a config that is no JSON": (
        lambda folder: ((folder / "config.json").write_text("{"), seal(folder)),
        "is no JSON",
    ),
    "another format": (
        lambda folder: rewrite_config(folder, fovea={"format_version": 9}),
        "encoder format 9, this Fovea reads 1",
    ),
    "an unknown architecture": (
        lambda folder: rewrite_config(folder, architecture="resnet49"),
        "'resnet49'; known are",
    ),
    "no sums": (lambda folder: (folder / "SHA256SUMS").unlink(), "no finished encoder folder"),
    "a missing file": (lambda folder: (folder / "README.md").unlink(), "lacks README.md"),
    "truncated weights": (
        lambda folder: (os.truncate(folder / "model.safetensors", 5000), seal(folder)),
        "cannot be read",
    ),
    "a link outside": (link_out, "model.safetensors is a link out of its folder"),
    "a pickle in the sums": (
        lambda folder: name_in_sums(folder, "pytorch_model.bin"),
        "names 'pytorch_model.bin': encoder folders hold",
    ),
    "weights from elsewhere": (elsewhere, "'checkpoint_path' among the model_args"),
    "a pointer of Git LFS": (
        lambda folder: write_weights(folder, POINTER, sealed=False),
        "model.safetensors is a pointer of Git LFS",
    ),
    "a huge header": (
        lambda folder: write_weights(folder, (2**62).to_bytes(8, "little") + b"{}"),
        "cannot be read (Error while deserializing header: header too large",
    ),
    "a declared size of 4 GB": (
        lambda folder: write_weights(
            folder,
            header(
                b'{"norm.bias": {"dtype": "F32", '
                b'"shape": [1073741824], "data_offsets": [0, 4294967296]}}'
            ),
        ),
        "cannot be read (Error while deserializing header: incomplete metadata",
    ),
    "a config without a shape": (
        lambda folder: rewrite_config(folder, model_args=None),
        "config.json has no model_args that is a dict",
    ),
    "a config of another shape": (
        lambda folder: rewrite_config(folder, model_args={"in_chans": 4, "wide": True}),
        "config.json does not describe a vit_tiny_patch16_224",
    ),
    "a config that is no object": (
        lambda folder: ((folder / "config.json").write_text("[" * 9), seal(folder)),
        "is no JSON (Expecting value: line 1 column 10",
    ),
}


@pytest.mark.parametrize(
    "name", ["..", "../x.json", "/etc/x.json", "C:x.json", "C:\\x.json", "..\\x.json", "a/x.json"]
)
def test_names_that_may_lie_outside_are_refused(name: str, folder: Path) -> None:
    name_in_sums(folder, name)
    with pytest.raises(UserError, match="which may lie outside the folder") as refused:
        hub.verify(folder)
    assert repr(name) in str(refused.value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_and_named(damage: str, folder: Path) -> None:
    harm, message = DAMAGES[damage]
    harm(folder)
    with pytest.raises(UserError) as refused:
        load_encoder(folder)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", header(b"[]"), header(b'{"a": {"shape": "wide"}}'), header(b"[" * 5000), POINTER],
)
def test_a_header_that_is_none_is_not_shown(content: bytes, folder: Path) -> None:
    write_weights(folder, content)
    with pytest.raises(UserError, match=r"model\.safetensors is no safetensors file"):
        hub.run(["show", str(folder)])


def test_every_damage_has_an_error_of_its_own() -> None:
    assert len({message for _, message in DAMAGES.values()}) == len(DAMAGES)


def test_no_code_in_a_folder_is_run(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (canary,)

    pickled = pickle.dumps(Bomb())
    pickle.loads(pickled)
    assert canary.exists()
    canary.unlink()
    for name in ("pytorch_model.bin", "model.pth", "pickle.pth"):  # beside the weights
        (folder / name).write_bytes(pickled)
        (folder.parent / name).write_bytes(pickled)
    load_encoder(folder)
    elsewhere(folder)
    with pytest.raises(UserError, match="'checkpoint_path'"):
        load_encoder(folder)
    (folder / "model.safetensors").write_bytes(pickled)
    seal(folder)
    with pytest.raises(UserError):
        load_encoder(folder)
    rewrite_config(folder, model_args={"in_chans": 4, "img_size": [84, 84], "patch_size": 14})
    with pytest.raises(UserError, match="cannot be read"):
        load_encoder(folder)
    assert not canary.exists()


def test_a_diverged_encoder_is_not_exported(encoder: ViT, tmp_path: Path) -> None:
    with torch.no_grad():
        encoder.vit.cls_token.fill_(float("inf"))
    with pytest.raises(UserError, match="'cls_token' holds NaN or infinity"):
        export_encoder(encoder, tmp_path / "mine", FACTS)
    assert not list(tmp_path.iterdir())


def test_exporting_again_replaces_the_whole_folder(folder: Path) -> None:
    (folder / "stray").touch()
    other = build(Shape(), seed=6)
    export_encoder(other, folder, FACTS)
    assert torch.equal(load_encoder(folder).vit.pos_embed, other.vit.pos_embed)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "SHA256SUMS"])
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(UserError, match="no encoder folder at nowhere"):
        load_encoder("nowhere")


@pytest.fixture
def with_read_out(tmp_path: Path) -> tuple[ViT, Path]:
    """An encoder whose summary is that of three queries, and its folder."""
    encoder = build_encoder(Shape(read_out=MultiQueryShape(queries=3, outputs=5)), seed=5).eval()
    return encoder, export_encoder(encoder, tmp_path / "mine", FACTS)


def test_a_read_out_travels_with_its_encoder(with_read_out: tuple[ViT, Path]) -> None:
    encoder, folder = with_read_out
    images, loaded = screens(), load_encoder(folder)
    summary, tokens = encoder(images)
    assert torch.equal(summary, encoder.read_out(tokens))
    assert summary.shape == (3, 15) == (3, loaded.summary_dim)
    for mine, theirs in zip((summary, tokens), loaded(images), strict=True):
        assert torch.equal(mine, theirs)
    assert f"  {READ_OUT}\n" in (folder / "SHA256SUMS").read_text()


def test_plain_timm_loads_an_encoder_with_a_read_out(with_read_out: tuple[ViT, Path]) -> None:
    encoder, folder = with_read_out
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = screens()
    with torch.no_grad():
        tokens = model.forward_features(encoder.scale(images))
        assert torch.equal(tokens[:, 1:], encoder(images).tokens)


def test_the_vit_is_drawn_the_same_with_and_without_a_read_out() -> None:
    plain, more = (
        build(Shape(), seed=5).vit,
        build_encoder(Shape(read_out=MultiQueryShape(queries=8)), seed=5).vit,
    )
    assert all(torch.equal(w, more.state_dict()[name]) for name, w in plain.state_dict().items())


def forget_read_out(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["fovea"]["read_out"]
    (folder / "config.json").write_text(json.dumps(config))
    seal(folder, READ_OUT)


def other_queries(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["fovea"]["read_out"]["queries"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    seal(folder, READ_OUT)


def flip_read_out(folder: Path) -> None:
    content = bytearray((folder / READ_OUT).read_bytes())
    content[-5] ^= 1
    (folder / READ_OUT).write_bytes(content)


READ_OUT_DAMAGES = {
    "a file that is gone": (lambda folder: (folder / READ_OUT).unlink(), "lacks read_out"),
    "a file that is gone from the sums": (seal, "names a read-out, and SHA256SUMS no read_out"),
    "a config that does not name it": (forget_read_out, "names no read-out, and SHA256SUMS a read"),
    "a config of another": (other_queries, "weight 'bias' is (3, 5) in read_out.safetensors"),
    "a flipped byte": (flip_read_out, "read_out.safetensors does not match its SHA-256"),
}


@pytest.mark.parametrize("damage", READ_OUT_DAMAGES)
def test_damage_to_a_read_out_is_refused(damage: str, with_read_out: tuple[ViT, Path]) -> None:
    harm, message = READ_OUT_DAMAGES[damage]
    harm(with_read_out[1])
    with pytest.raises(UserError) as refused:
        load_encoder(with_read_out[1])
    assert message in str(refused.value)


def test_a_pack_unpacks_to_an_encoder_of_the_same_weights_in_half_precision(tmp_path: Path) -> None:
    encoder = build(Shape(read_out=MultiQueryShape(queries=2, outputs=8)), seed=5).eval()
    export_encoder(encoder, tmp_path / "run" / "encoder", FACTS)
    hub.run(["pack", str(tmp_path / "run"), "--out", str(tmp_path / "small.tar")])
    hub.run(["pack", str(tmp_path / "run"), "--out", str(tmp_path / "again" / "small.tar")])
    packed = tmp_path / "small.tar"
    assert packed.read_bytes() == (tmp_path / "again" / "small.tar").read_bytes()
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path, filter="data")
    loaded = load_encoder(tmp_path / "small").state_dict()
    for name, value in encoder.state_dict().items():
        assert loaded[name].dtype == value.dtype
        assert torch.equal(
            loaded[name], value.half().float() if value.is_floating_point() else value
        )
    whole, small = (
        (folder / "model.safetensors").stat().st_size
        for folder in (tmp_path / "run" / "encoder", tmp_path / "small")
    )
    assert small < 0.51 * whole
    assert "Weights are fp16" in (tmp_path / "small" / "README.md").read_text()
    timm.create_model(f"local-dir:{tmp_path / 'small'}", pretrained=True)


def test_a_weight_beyond_half_precision_is_not_packed(folder: Path, tmp_path: Path) -> None:
    reweigh(folder, lambda weights: weights["cls_token"].fill_(1e5))
    with pytest.raises(UserError, match=r"'cls_token' holds 100000, and half precision ends at"):
        hub.run(["pack", str(folder), "--out", str(tmp_path / "small.tar")])
    assert not (tmp_path / "small.tar").exists()
