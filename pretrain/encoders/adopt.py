"""Encoder folders of what timm saved: the way back from a project that fine-tuned an encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from fovea.command import UserError
from fovea.foreign import read_text
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.encoders.timm_model import is_known, load_timm
from fovea.pretrain.hub import CONFIG, WEIGHTS
from fovea.weights import check_shapes

OTHERS = ("pytorch_model.bin", "model.pth")
"""Files of weights that are pickles, which are not opened."""


def adopt_timm(
    source: Path, out: Path, screen: int | None = None, ignore_normalization: bool = False
) -> Path:
    """Write an encoder folder with the weights of a folder that `timm.models.save_for_hf` made.

    Args:
        source: that folder; saved with safe_serialization=True.
        out: the encoder folder.
        screen: side of the screens in pixels; by default the model's input is the whole screen.
        ignore_normalization: whether the mean and std that its config names were not used.

    Raises UserError where it is no such folder, where the model wants normalised pixels, and where
    its weights are not exactly those that its config describes.
    """
    config, weights = _config(source), _weights(source)
    architecture, pretrained = config.get("architecture", ""), config.get("pretrained_cfg", {})
    if not is_known(architecture):
        raise UserError(
            f"{source}/{CONFIG} names {architecture!r}, which timm does not know: take a model of "
            "timm, or install the timm that has it"
        )
    _check_normalization(source, pretrained, ignore_normalization)
    channels, height, width = pretrained.get("input_size", (None, 0, 0))
    args: dict[str, Any] = {"in_chans": channels} | config.get("model_args", {})
    args.pop("num_classes", None)
    side = args.get("img_size", (height, width))
    sides = (side, side) if isinstance(side, int) else tuple(side)
    encoder = load_timm(architecture, args, (screen, screen) if screen else sides)
    head = pretrained.get("classifier") or "head"
    heads = tuple(f"{name}." for name in ([head] if isinstance(head, str) else head))
    kept = {name: value for name, value in weights.items() if not name.startswith(heads)}
    check_shapes(
        encoder.body.state_dict(),
        kept,
        lambda name, given, expected: (
            f"{source}: weight {name!r} is {given or 'missing'} in {WEIGHTS} and "
            f"{expected or 'unknown'} by {CONFIG}: save it with timm 1.0.31 or newer, which keeps "
            "the arguments that a model was made with, or add them to its model_args"
        ),
    )
    encoder.body.load_state_dict(kept)
    facts = {"method": "adopted from timm", "source": source.name}
    return export_encoder(encoder.eval(), out, facts)


def _config(source: Path) -> dict[str, Any]:
    try:
        return json.loads(read_text(source / CONFIG))
    except (OSError, ValueError):
        raise UserError(
            f"{source} holds no {CONFIG} of timm: save the model with "
            "timm.models.save_for_hf(model, FOLDER, safe_serialization=True)"
        ) from None


def _weights(source: Path) -> dict[str, Any]:
    try:
        return load_file(source / WEIGHTS)
    except FileNotFoundError:
        pickles = [name for name in OTHERS if (source / name).exists()]
        why = f", and {pickles[0]} is a pickle, which could run code" if pickles else ""
        raise UserError(
            f"{source} holds no {WEIGHTS}{why}: save with safe_serialization=True"
        ) from None
    except SafetensorError as fault:
        raise UserError(f"{source}/{WEIGHTS} cannot be read ({fault}): save it again") from None


def _check_normalization(source: Path, pretrained: dict[str, Any], ignored: bool) -> None:
    mean, std = pretrained.get("mean", ()), pretrained.get("std", ())
    if not ignored and (any(mean) or any(one != 1 for one in std)):
        raise UserError(
            f"{source}: its {CONFIG} wants pixels less {list(mean)}, divided by {list(std)}, and "
            "encoders here take them in [0, 1]: where it was trained on these, say "
            "--ignore-normalization"
        )
