"""Encoder folders: timm's own form for its models, verified on the way in and on the way out.

    config.json         what timm and transformers read; what is Fovea's lies under "fovea"
    model.safetensors   the weights under timm's names (a CNN's under its own), fp32, contiguous
    README.md           the model card
    SHA256SUMS          of every other file; written last, so a folder without it is unfinished

`timm.create_model("local-dir:FOLDER", pretrained=True)` loads a timm model's weights bit for bit.
It does not check the hashes; `load_encoder` checks them, every key, and that all are finite.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from fovea import __version__
from fovea.command import UserError
from fovea.files import replacing, sha256, sync_folder, write_json, write_text
from fovea.pretrain.encoders.build import untrained
from fovea.pretrain.encoders.card import card
from fovea.pretrain.encoders.cnn import BODIES, CNN
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.timm_model import is_known, load_timm
from fovea.pretrain.hub import FILES, FORMAT, SUMS, locate, read_config, verify
from fovea.weights import check_shapes


def export_encoder(encoder: Encoder, folder: str | Path, facts: dict) -> Path:
    """Write `encoder` as an encoder folder, complete or not at all; an older one is replaced.

    Args:
        encoder: the encoder; its weights are written in fp32.
        folder: where to; its parent is made when missing.
        facts: how it came to be (method, games, steps, samples, seed ...), for config and card.

    Raises UserError where a weight is not finite.
    """
    folder = Path(folder)
    weights = {
        key: value.detach().cpu().float().contiguous() if value.is_floating_point() else value.cpu()
        for key, value in encoder.body.state_dict().items()
    }
    _check_finite(weights, folder)
    building = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    older = building.with_suffix(".old")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        config = _config(encoder, facts)
        write_json(building / "config.json", config)
        with replacing(building / "model.safetensors") as temporary:
            # Not save_file: it hides the error of a full disk, and its file is for the owner alone.
            temporary.write_bytes(save(weights, metadata={"format": "pt"}))
        write_text(building / "README.md", card(folder.name, config, encoder.library))
        sums = "".join(f"{sha256(building / name)}  {name}\n" for name in FILES)
        write_text(building / SUMS, sums)
        if folder.exists():
            os.replace(folder, older)
        os.replace(building, folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(older, ignore_errors=True)
    return folder


def load_encoder(ref: str | Path, seed: int = 0) -> Encoder:
    """The encoder that `ref` names, verified, on the CPU, in eval mode.

        encoder = load_encoder("runs/mine")
        features = encoder.encode_array(screens)    # (N, stack, H, W) uint8

    Args:
        ref: an encoder folder, a run folder that holds one, `hf-hub:ORG/NAME[@REVISION]`, or
            `random:NAME` for an untrained one of the default shape: a size of ViT (`vit_micro`
            ...), a CNN (`nature_cnn`, `nature_cnn_orthogonal`, `impala_cnn`, `sgi_resnet`), a
            model of timm (`convnext_atto` ...), or `patches14`, the pixels of patches of 14 px.
        seed: of an untrained encoder's weights.

    Raises UserError where the folder is missing, unfinished, damaged, or of another format.
    """
    kind, _, name = str(ref).partition(":")
    if kind == "random":
        return untrained(name, seed).eval()
    folder = locate(ref)
    verify(folder)
    config = read_config(folder)
    architecture = config["architecture"]
    if architecture not in BODIES and not is_known(architecture):
        known = ", ".join(sorted(BODIES))
        raise UserError(f"{folder} is a {architecture!r}; known are {known} and timm's models")
    make = CNN if architecture in BODIES else load_timm
    encoder = make(architecture, config["model_args"], config["fovea"]["screen"])
    weights = _read_weights(folder)
    check_shapes(
        encoder.body.state_dict(),
        weights,
        lambda name, given, expected: (
            f"{folder}: weight {name!r} is {given or 'missing'} in model.safetensors and "
            f"{expected or 'unknown'} by config.json: the two do not belong together"
        ),
    )
    _check_finite(weights, folder)
    encoder.body.load_state_dict(weights)
    return encoder.eval()


def _config(encoder: Encoder, facts: dict) -> dict:
    """config.json in the form that timm 1.0.16 and newer, and transformers, load bit-equal.

    Measured: without `first_conv: null` older timm silently re-initialises the patch embedding of 4
    channels; with `num_classes` among the model_args transformers refuses the folder.
    """
    channels, (height, width) = encoder.stack, encoder.input_size
    return {
        "architecture": encoder.architecture,
        "num_classes": 0,
        "num_features": encoder.dim,
        "global_pool": encoder.model_args.get("global_pool", "avg"),
        "model_args": encoder.model_args,
        "pretrained_cfg": {
            "tag": "fovea",
            "custom_load": False,
            "input_size": [channels, height, width],
            "fixed_input_size": "img_size" in encoder.model_args,  # else timm would set it
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": [0.0] * channels,
            "std": [1.0] * channels,
            "num_classes": 0,
            "first_conv": None,
            "classifier": "head",
            "license": "mit",
        },
        "fovea": {
            "format_version": FORMAT,
            "screen": list(encoder.screen),
            "code_version": __version__,
            **facts,
        },
    }


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(folder / "model.safetensors")
    except SafetensorError as fault:
        raise UserError(f"{folder}/model.safetensors cannot be read ({fault})") from None


def _check_finite(weights: dict, folder: Path) -> None:
    for key, value in weights.items():
        if not torch.isfinite(value).all():
            raise UserError(f"{folder}: weight {key!r} holds NaN or infinity: the run diverged")
