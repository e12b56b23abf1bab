"""Encoder folders: timm's own form for its models, verified on the way in and on the way out.

    config.json         what timm and transformers read; what is Fovea's lies under "fovea"
    model.safetensors   the weights under timm's names (a CNN's under its own), fp32, contiguous
    read_out.safetensors  those of the read-out, where the encoder has one
    README.md           the model card
    SHA256SUMS          of every other file; written last, so a folder without it is unfinished

`timm.create_model("local-dir:FOLDER", pretrained=True)` loads a timm model's weights bit for bit.
It does not check the hashes; `load_encoder` checks them, every key, and that all are finite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from fovea import __version__
from fovea.command import UserError
from fovea.files import replacing, replacing_folder, write_json, write_text
from fovea.pretrain.card import make_card, objective_settings
from fovea.pretrain.encoders.build import untrained
from fovea.pretrain.encoders.cnn import BODIES, CNN
from fovea.pretrain.encoders.encoder import Encoder
from fovea.pretrain.encoders.multi_query import MultiQueryReadOut
from fovea.pretrain.encoders.patches import Patches
from fovea.pretrain.encoders.timm_model import FAULTS, is_known, load_timm
from fovea.pretrain.hub import (
    CARD,
    CONFIG,
    FILES,
    FORMAT,
    READ_OUT,
    WEIGHTS,
    locate,
    read_config,
    seal,
    verify,
)
from fovea.seeding import Stream, seeded
from fovea.weights import check_shapes

# What makes an encoder of ours; any other architecture is timm's.
MAKERS: dict[str, Callable[[str, dict, Any], Encoder]] = {
    **dict.fromkeys(BODIES, CNN),
    "patches": Patches,
}


METADATA = {"format": "pt"}


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """The weights of a module as a folder holds them: fp32, contiguous, on the CPU."""
    return {
        key: value.detach().cpu().float().contiguous() if value.is_floating_point() else value.cpu()
        for key, value in module.state_dict().items()
    }


def weights_sha256(encoder: Encoder) -> str:
    """SHA-256 of the weights file that an export of the encoder writes, without its read-out."""
    body = getattr(encoder, "body", encoder)
    return hashlib.sha256(save(tensors(body), metadata=METADATA)).hexdigest()


def export_encoder(encoder: Encoder, folder: str | Path, facts: dict) -> Path:
    """Write `encoder` as an encoder folder, complete or not at all; an older one is replaced.

    Args:
        encoder: the encoder; its weights are written in fp32.
        folder: where to; its parent is made when missing.
        facts: how it came to be (method, games, steps, samples, seed ...), for config and card.

    Raises UserError where a weight is not finite.
    """
    folder = Path(folder)
    parts = {name: tensors(module) for name, module in _parts(encoder).items()}
    for weights in parts.values():
        _check_finite(weights, folder)
    with replacing_folder(folder) as building:
        config = describe(encoder, facts)
        write_json(building / CONFIG, config)
        for name, weights in parts.items():
            with replacing(building / name) as temporary:
                # Not save_file: it hides the error of a full disk, and its file is for the owner.
                temporary.write_bytes(save(weights, metadata=METADATA))
        card = make_card(folder.name, config, encoder.library, objective_settings(folder))
        write_text(building / CARD, card)
        seal(building, dict.fromkeys((*FILES, *parts)))
    return folder


def load_encoder(ref: str | Path, seed: int = 0) -> Encoder:
    """The encoder that `ref` names, verified, on the CPU, in eval mode.

        encoder = load_encoder("runs/mine")
        features = encoder.encode_array(screens)    # (N, stack, H, W) uint8

    Args:
        ref: an encoder folder, a run folder that holds one, `hf-hub:ORG/NAME[@REVISION]`,
            `pretrained:vit_micro`, which comes with Fovea, or
            `random:NAME` for an untrained one of the default shape: a size of ViT (`vit_micro`
            ...), a CNN (`nature_cnn`, `nature_cnn_orthogonal`, `impala_cnn`, `sgi_resnet`), a
            model of timm (`convnext_atto` ...), or `patches14`, the pixels of patches of 14 px;
            or `untrained:FOLDER`, an untrained one of the shape of that in an encoder folder (or
            that a file like its config.json describes).
        seed: of an untrained encoder's weights.

    Raises UserError where the folder is missing, unfinished, damaged, or of another format.
    """
    kind, _, name = str(ref).partition(":")
    if kind == "random":
        return untrained(name, seed).eval()
    if kind == "untrained":
        place = locate(name)
        with seeded(Stream.ENCODER, seed):
            return make_encoder(read_config(place), place).eval()
    folder = locate(ref)
    files = verify(folder)
    config = read_config(folder)
    shape = config["fovea"].get("read_out")
    if (READ_OUT in files) != bool(shape):
        raise UserError(
            f"{folder}: config.json names {'a' if shape else 'no'} read-out, and SHA256SUMS "
            f"{'no' if shape else 'a'} {READ_OUT}: the two do not belong together, export again"
        )
    encoder = make_encoder(config, folder)
    for file, module in _parts(encoder).items():
        _load_weights(module, folder, file)
    return encoder.eval()


def make_encoder(config: dict, source: str | Path) -> Encoder:
    """The encoder that a config.json describes (see `describe`), with any weights.

    Nothing is downloaded, and no file is opened, whatever the config asks of timm.

    Args:
        config: what `read_config` returned.
        source: where it is from, for messages.

    Raises UserError for an unknown architecture, and for arguments that it does not take.
    """
    architecture, model_args = config["architecture"], config["model_args"]
    if architecture not in MAKERS and not is_known(architecture):
        known = ", ".join(sorted(MAKERS))
        raise UserError(f"{source} is a {architecture!r}; known are {known} and timm's models")
    make = MAKERS.get(architecture, load_timm)
    try:
        encoder = make(architecture, model_args, config["fovea"]["screen"])
        if shape := config["fovea"].get("read_out"):
            encoder.read_out = MultiQueryReadOut(encoder.dim, **shape)
    except UserError:
        raise
    except (*FAULTS, KeyError) as fault:
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise UserError(
            f"{source}/{CONFIG} does not describe a {architecture} ({reason}): export again"
        ) from None
    return encoder


def _parts(encoder: Encoder) -> dict[str, nn.Module]:
    """{file: module} of what a folder holds the weights of."""
    read_out = {READ_OUT: encoder.read_out} if encoder.read_out else {}
    return {WEIGHTS: encoder.body, **read_out}


def _load_weights(module: nn.Module, folder: Path, file: str) -> None:
    """Give a module the weights of a file. Raises UserError where they are not exactly its own."""
    try:
        weights = load_file(folder / file)
    except SafetensorError as fault:
        raise UserError(
            f"{folder}/{file} cannot be read ({fault}): export or download it again"
        ) from None
    check_shapes(
        module.state_dict(),
        weights,
        lambda name, given, expected: (
            f"{folder}: weight {name!r} is {given or 'missing'} in {file} and "
            f"{expected or 'unknown'} by config.json: the two do not belong together"
        ),
    )
    _check_finite(weights, folder)
    module.load_state_dict(weights)


def describe(encoder: Encoder, facts: dict) -> dict:
    """What an encoder is built from, and facts about it: config.json of a folder.

    It has the form that timm 1.0.16 and newer, and transformers, load bit-equal.

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
            **({"read_out": asdict(encoder.read_out.shape)} if encoder.read_out else {}),
            **facts,
        },
    }


def _check_finite(weights: dict[str, Tensor], folder: Path) -> None:
    for key, value in weights.items():
        if not torch.isfinite(value).all():
            raise UserError(f"{folder}: weight {key!r} holds NaN or infinity: the run diverged")
